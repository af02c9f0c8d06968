// Package spool holds messages for the brain until it has them: on disk before they are
// acknowledged, in their order, across restarts and power cuts.
//
// It knows nothing of what they say, and must not import another adapter.
package spool

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"sentinel.home.arpa/shared/daemon"
)

// Limits: an outage of the internet must not fill the Pi's card.
const (
	maxMessages  = 4096
	maxBytes     = 16 << 20
	maxStrangers = 16        // messages of one unknown key
	maxStrange   = 256 << 10 // bytes of all unknown keys
	// oldest is the highest age that a relay may name; a Pi's clock may jump by years.
	oldest = 30 * 24 * time.Hour
)

// ErrFull refuses a message that there is no room for.
var ErrFull = errors.New("the spool is full")

// Message is one message that waits.
type Message struct {
	Name     string // of its file
	Envelope []byte
	Age      time.Duration
}

// record is a message as it lies on disk. Within one boot its age is known exactly; over
// a reboot the wall clock tells.
type record struct {
	Boot      string        `json:"boot"`
	SinceBoot time.Duration `json:"since_boot_ns"`
	Wall      time.Time     `json:"wall"`
	Stranger  string        `json:"stranger,omitempty"` // the unknown key that signed it
	Envelope  []byte        `json:"envelope"`
}

type held struct {
	name string
	record
}

// Spool is safe for concurrent use.
type Spool struct {
	dir       string
	boot      string
	sinceBoot func() time.Duration
	largest   int // an envelope

	mu    sync.Mutex
	held  []held // the oldest first
	bytes int
	next  int
	// Added has a value when a message was put; whoever forwards waits on it.
	added chan struct{}
}

// Open reads what an earlier process left. A file that is broken, or holds an envelope of
// more than largest bytes, is set aside, never lost and never in the way. One that cannot be
// read now stays for the next start.
func Open(dir, boot string, sinceBoot func() time.Duration, largest int, log *slog.Logger) (*Spool, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open the spool: %w", err)
	}
	s := &Spool{dir: dir, boot: boot, sinceBoot: sinceBoot, largest: largest, added: make(chan struct{}, 1)}
	entries, err := os.ReadDir(dir) // sorted by name, which is the order of arrival
	if err != nil {
		return nil, fmt.Errorf("open the spool: %w", err)
	}
	var unread []error
	for _, e := range entries {
		number, ok := strings.CutSuffix(e.Name(), ".json")
		var n int
		if _, err := fmt.Sscanf(number, "%d", &n); !ok || err != nil {
			continue
		}
		s.next = max(s.next, n+1)
		r, err := s.read(e)
		switch {
		case errors.Is(err, errBroken):
			log.Error("spooled message broken, set aside", "file", e.Name(), "err", err)
			_ = s.rename(e.Name()) // the next start tries again
		case err != nil:
			unread = append(unread, err)
		default:
			s.keep(held{e.Name(), r})
		}
	}
	if len(unread) > 0 {
		log.Error("spooled messages cannot be read now, they stay for the next start", "messages", len(unread), "err", unread[0])
	}
	return s, nil
}

// errBroken is of a file that no later attempt will read.
var errBroken = errors.New("broken")

func (s *Spool) read(e fs.DirEntry) (r record, err error) {
	if !e.Type().IsRegular() {
		return r, fmt.Errorf("%w: no file", errBroken)
	}
	data, err := os.ReadFile(filepath.Join(s.dir, e.Name()))
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("%w: %w", errBroken, err)
	}
	if n := len(r.Envelope); n == 0 || n > s.largest {
		return r, fmt.Errorf("%w: an envelope of %d bytes, where 1 to %d are right", errBroken, n, s.largest)
	}
	return r, nil
}

func (s *Spool) rename(name string) error {
	return os.Rename(filepath.Join(s.dir, name), filepath.Join(s.dir, name+".broken"))
}

func (s *Spool) keep(h held) {
	s.held = append(s.held, h)
	s.bytes += len(h.Envelope)
	select {
	case s.added <- struct{}{}:
	default:
	}
}

// Put holds a message; once it returns, the message is on disk. The same message again is
// held once. stranger is the key of a sender that is not known; those are few and small.
func (s *Spool) Put(envelope []byte, stranger string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.ContainsFunc(s.held, func(h held) bool { return slices.Equal(h.Envelope, envelope) }) {
		return nil
	}
	if len(envelope) == 0 || len(envelope) > s.largest {
		return fmt.Errorf("spool a message: its %d bytes are not 1 to %d", len(envelope), s.largest)
	}
	if len(s.held) >= maxMessages || s.bytes+len(envelope) > maxBytes || stranger != "" && !s.roomFor(stranger, len(envelope)) {
		return ErrFull
	}
	h := held{fmt.Sprintf("%012d.json", s.next), record{s.boot, s.sinceBoot(), time.Now(), stranger, envelope}}
	data, err := json.Marshal(h.record)
	if err == nil {
		err = daemon.WriteFile(filepath.Join(s.dir, h.name), data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("spool a message: %w", err)
	}
	s.next++
	s.keep(h)
	return nil
}

func (s *Spool) roomFor(stranger string, size int) bool {
	n := 0
	for _, h := range s.held {
		if h.Stranger != "" {
			size += len(h.Envelope)
		}
		if h.Stranger == stranger {
			n++
		}
	}
	return n < maxStrangers && size <= maxStrange
}

// First are the oldest messages, n at most.
func (s *Spool) First(n int) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Message
	for _, h := range s.held[:min(n, len(s.held))] {
		age := time.Since(h.Wall)
		if h.Boot == s.boot {
			age = s.sinceBoot() - h.SinceBoot
		}
		out = append(out, Message{h.name, h.Envelope, min(max(age, 0), oldest)})
	}
	return out
}

// Remove lets a message go that the brain has.
func (s *Spool) Remove(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.forget(name) {
		return nil
	}
	if err := os.Remove(filepath.Join(s.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove a spooled message: %w", err)
	}
	return nil
}

// SetAside takes a message out of the way that cannot be sent. Its file is kept.
func (s *Spool) SetAside(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.forget(name) {
		return nil
	}
	if err := s.rename(name); err != nil {
		return fmt.Errorf("set a spooled message aside: %w", err)
	}
	return nil
}

func (s *Spool) forget(name string) bool {
	i := slices.IndexFunc(s.held, func(h held) bool { return h.name == name })
	if i < 0 {
		return false
	}
	s.bytes -= len(s.held[i].Envelope)
	s.held = slices.Delete(s.held, i, i+1)
	return true
}

// Added has a value after messages were put.
func (s *Spool) Added() <-chan struct{} { return s.added }
