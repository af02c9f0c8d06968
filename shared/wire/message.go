package wire

import (
	"errors"
	"fmt"
	"time"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// Version is the version of the messages. A receiver refuses newer ones.
const Version = 1

// ValidName tells whether a name of a site, node or UPS is one: small letters, digits,
// dots and dashes, 63 at most.
func ValidName(name string) error {
	if !isName(name) {
		return fmt.Errorf("%.80q is no name: use small letters, digits and dashes", name)
	}
	return nil
}

// isName and isBoot are asked several times a heartbeat, so they are no regular expressions.
func isName(name string) bool {
	for i := range len(name) {
		c, inside := name[i], i > 0 && i < len(name)-1
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || inside && (c == '.' || c == '-')) {
			return false
		}
	}
	return 0 < len(name) && len(name) <= 63
}

func isBoot(id string) bool {
	for i := range len(id) {
		if c := id[i]; !('0' <= c && c <= '9' || 'a' <= c && c <= 'f' || c == '-') {
			return false
		}
	}
	return 32 <= len(id) && len(id) <= 36
}

// Header is what every message carries.
type Header struct {
	V    int    `json:"v"`
	Site string `json:"site,omitempty"` // empty: the brain knows
	Node string `json:"node"`
	Boot string `json:"boot"` // the kernel's boot id
	// Seq is CLOCK_BOOTTIME in µs: it rises within a boot, across restarts of the
	// program and over all its processes.
	Seq int64 `json:"seq"`
}

// maxSeq is 142 years in µs: exact for every reader of JSON, and in range as a duration.
const maxSeq = 1 << 52

func (h Header) validate() error {
	switch {
	case h.V != Version:
		return fmt.Errorf("%w: version %d where %d is understood", ErrMalformed, h.V, Version)
	case !isName(h.Node):
		return fmt.Errorf("%w: node: %w", ErrMalformed, ValidName(h.Node))
	case h.Site != "" && !isName(h.Site):
		return fmt.Errorf("%w: site: %w", ErrMalformed, ValidName(h.Site))
	case !isBoot(h.Boot):
		return fmt.Errorf("%w: boot: %.80q is no boot id", ErrMalformed, h.Boot)
	case h.Seq > maxSeq:
		return fmt.Errorf("%w: seq: %d is more than %d, which no machine has been up for", ErrMalformed, h.Seq, int64(maxSeq))
	case h.Seq <= 0:
		return fmt.Errorf("%w: seq: %d is not positive", ErrMalformed, h.Seq)
	}
	return nil
}

// Heartbeat says that a node or Pi lives.
type Heartbeat struct {
	Header
	State string    `json:"state,omitempty"` // systemd's: running, degraded, stopping...
	Pi    *PiStatus `json:"pi,omitempty"`    // only from a Pi
}

// PiStatus is what a Pi adds to its heartbeat.
type PiStatus struct {
	Addresses []string         `json:"addresses,omitempty"` // host:port on its LAN
	Heard     []Heard          `json:"heard,omitempty"`
	Bundle    string           `json:"bundle,omitempty"` // hash of the bundle that is on its disk
	Lacks     []string         `json:"lacks,omitempty"`  // credentials it needs and has not
	Run       *shutdown.Status `json:"run,omitempty"`    // the last run that it holds
	// Heeds is the brain's epoch under which the Pi begins nothing more in this outage, or that of
	// its own later run, as is on its disk: its word that it knows of a stop.
	Heeds shutdown.Epoch `json:"heeds,omitzero"`
	// Calls is the hash of the list of calls that is on its disk, or NoCalls; empty: it knows of none.
	Calls string `json:"calls,omitempty"`
	// Tells: it sends notices too, so that list may name channels.
	Tells bool `json:"tells,omitempty"`
}

const (
	// MaxOwed is how many guests a run may owe in a message, MaxOwedRef how long each of them may be.
	MaxOwed    = 200
	MaxOwedRef = 120
)

func validOwed(run *shutdown.Status) error {
	if run == nil {
		return nil
	}
	if len(run.Owed) > MaxOwed {
		return errors.New("run.owed: too many")
	}
	for _, ref := range run.Owed {
		if len(ref) > MaxOwedRef {
			return fmt.Errorf("run.owed: %.80q is too long", ref)
		}
	}
	return nil
}

// Heard is a node that a Pi hears on its LAN.
type Heard struct {
	Node  string `json:"node"`
	Boot  string `json:"boot"`
	Seq   int64  `json:"seq"`
	AgeMS int64  `json:"age_ms"`
	State string `json:"state,omitempty"`
}

// Validate implements Message.
func (h *Heartbeat) Validate() error {
	if err := h.Header.validate(); err != nil {
		return err
	}
	if len(h.State) > 32 {
		return errors.New("state: too long")
	}
	if h.Pi == nil {
		return nil
	}
	if len(h.Pi.Heard) > 500 || len(h.Pi.Addresses) > 16 || len(h.Pi.Lacks) > 16 {
		return errors.New("pi: too many heard, addresses or lacks")
	}
	if len(h.Pi.Calls) > 64 {
		return errors.New("pi.calls: too long")
	}
	if err := validOwed(h.Pi.Run); err != nil {
		return fmt.Errorf("pi.%w", err)
	}
	for _, n := range h.Pi.Heard {
		if err := (Header{V: Version, Node: n.Node, Boot: n.Boot, Seq: n.Seq}).validate(); err != nil {
			return fmt.Errorf("pi.heard: %w", err)
		}
		if n.AgeMS < 0 || n.AgeMS > maxAge.Milliseconds() {
			return fmt.Errorf("pi.heard: age_ms: %d cannot be", n.AgeMS)
		}
	}
	return nil
}

// maxAge bounds every age that a message names: longer than anything is kept.
const maxAge = 30 * 24 * time.Hour

// ShutdownKind is the kind of a planned shutdown, in systemd's words.
type ShutdownKind string

// The kinds. Cancelled takes the last announcement of the same boot back.
const (
	Poweroff   ShutdownKind = "poweroff"
	Reboot     ShutdownKind = "reboot"
	Halt       ShutdownKind = "halt"
	Kexec      ShutdownKind = "kexec"
	SoftReboot ShutdownKind = "soft-reboot"
	Cancelled  ShutdownKind = "cancelled"
)

// Returns reports whether the node is expected back by itself.
func (k ShutdownKind) Returns() bool { return k == Reboot || k == Kexec || k == SoftReboot }

// ParseShutdownKind reads a kind as people type it.
func ParseShutdownKind(s string) (ShutdownKind, error) {
	switch k := ShutdownKind(s); k {
	case Poweroff, Reboot, Halt, Kexec, SoftReboot, Cancelled:
		return k, nil
	}
	return "", fmt.Errorf("%.40q is no kind of shutdown: use poweroff, reboot, halt, kexec or soft-reboot", s)
}

// Announcement says that a node is about to go down, or that it is not after all.
type Announcement struct {
	Header
	ID   string       `json:"id"`
	Kind ShutdownKind `json:"kind"`
}

// Validate implements Message.
func (a *Announcement) Validate() error {
	if err := a.Header.validate(); err != nil {
		return err
	}
	if a.ID == "" || len(a.ID) > 64 {
		return errors.New("id: must have 1 to 64 characters")
	}
	_, err := ParseShutdownKind(string(a.Kind))
	return err
}

// UPSReport is a UPS as a Pi sees it now.
type UPSReport struct {
	Header
	UPS     string           `json:"ups"`
	Reading power.Reading    `json:"reading"`
	Changed bool             `json:"changed,omitempty"`
	Bundle  string           `json:"bundle,omitempty"` // as in PiStatus
	Run     *shutdown.Status `json:"run,omitempty"`
	// Cutting says that the Pi is about to have the UPS cut its output: all that hangs on it
	// goes dark, as planned, until the mains are back (rule G4).
	Cutting bool `json:"cutting,omitempty"`
}

// Validate implements Message; values that cannot be are refused (rule U6).
func (r *UPSReport) Validate() error {
	if err := r.Header.validate(); err != nil {
		return err
	}
	if err := ValidName(r.UPS); err != nil {
		return fmt.Errorf("ups: %w", err)
	}
	if err := validOwed(r.Run); err != nil {
		return err
	}
	return r.Reading.Validate()
}

// Relay carries original envelopes from a Pi to the brain.
type Relay struct {
	Header
	Messages []Relayed `json:"messages"`
}

// Relayed is one envelope and how long the Pi has had it.
type Relayed struct {
	AgeMS    int64  `json:"age_ms"`
	Envelope []byte `json:"envelope"`
}

// MaxRelayed is how many envelopes one relay carries at most.
const MaxRelayed = 32

// Validate implements Message.
func (r *Relay) Validate() error {
	if err := r.Header.validate(); err != nil {
		return err
	}
	if len(r.Messages) == 0 || len(r.Messages) > MaxRelayed {
		return fmt.Errorf("messages: %d of them; 1 to %d are allowed", len(r.Messages), MaxRelayed)
	}
	for _, m := range r.Messages {
		if m.AgeMS < 0 || m.AgeMS > maxAge.Milliseconds() {
			return fmt.Errorf("messages: age_ms: %d cannot be", m.AgeMS)
		}
	}
	return nil
}

// Connect asks a Pi for a connection to an address of the plan; the brain signs it for
// one Pi where no tailnet identity stands for it.
type Connect struct {
	Header        // of the brain
	Pi     string `json:"pi"`
	Addr   string `json:"addr"`
}

// Validate implements Message.
func (c *Connect) Validate() error {
	if err := c.Header.validate(); err != nil {
		return err
	}
	return ValidName(c.Pi)
}
