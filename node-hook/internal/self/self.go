// Package self is who this agent is to others: its name, boot and key, and the messages
// that it seals with them.
//
// It reads no file and posts nothing, and must not import the packages that do.
package self

import (
	"fmt"
	"time"

	"sentinel.home.arpa/shared/wire"
)

// Self seals this agent's messages. It is safe for concurrent use.
type Self struct {
	header wire.Header
	key    wire.Key
	clock  func() time.Duration
	seq    wire.Counter
}

// New makes a Self of a valid name, a site ("" if the brain knows it), the kernel's boot
// id and a clock that counts from boot and is the same for all processes (CLOCK_BOOTTIME).
func New(name, site, boot string, key wire.Key, clock func() time.Duration) *Self {
	return &Self{
		header: wire.Header{V: wire.Version, Site: site, Node: name, Boot: boot},
		key:    key,
		clock:  clock,
	}
}

// Heartbeat seals a heartbeat; state is systemd's, "" if unknown.
func (s *Self) Heartbeat(state string) (wire.Header, []byte, error) {
	m := wire.Heartbeat{Header: s.next(), State: state}
	return s.seal(wire.KindHeartbeat, m.Header, &m)
}

// Announcement seals the announcement of a shutdown, or of its end.
func (s *Self) Announcement(id string, kind wire.ShutdownKind) (wire.Header, []byte, error) {
	m := wire.Announcement{Header: s.next(), ID: id, Kind: kind}
	return s.seal(wire.KindAnnouncement, m.Header, &m)
}

func (s *Self) seal(kind wire.Kind, h wire.Header, m wire.Message) (wire.Header, []byte, error) {
	if err := m.Validate(); err != nil {
		return h, nil, fmt.Errorf("seal a message: %w", err)
	}
	envelope, err := wire.Seal(kind, m, s.key)
	return h, envelope, err
}

// next is a header whose seq is above all before it, also within one microsecond.
func (s *Self) next() wire.Header {
	h := s.header
	h.Seq = s.seq.Next(s.clock())
	return h
}
