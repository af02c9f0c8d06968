package wire

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// KindPi is of a PiReport.
const KindPi Kind = "application/vnd.sentinel.pi+json"

const (
	// MaxPiReport bounds a sealed PiReport, in bytes.
	MaxPiReport = 32 << 10
	// MaxPiUPSes is how many UPSes a PiReport tells of at most, and MaxTook how many machines, each
	// time that it names some.
	MaxPiUPSes = 8
	MaxTook    = 64
	// maxTook bounds the name of such a machine, in bytes: "node/" and a name.
	maxTook = 80
	// maxRunID bounds the name of a run, in bytes.
	maxRunID = 200
)

// PiProofFor is for how long a Pi's word proves that what names it is no older.
const PiProofFor = 10 * time.Second

// PiReport is what a Pi tells another Pi of its site over the LAN (rule G6): the UPSes that it
// reads, and who runs the plan as it knows. Its site is never empty.
type PiReport struct {
	Header
	To string `json:"to"` // the other Pi
	// ToBoot and ToSeq are of the newest word of that Pi that the sender has. By its own clock the
	// other then knows how old this is at most, and a repetition for what it is, without having
	// to remember anything. Empty: none has come yet, and this asks for one and says nothing.
	ToBoot string `json:"to_boot,omitempty"`
	ToSeq  int64  `json:"to_seq,omitempty"`

	UPSes []PiUPS `json:"upses,omitempty"`
	Run   PiRun   `json:"run"` // of the outage that goes on, as the sender knows
	// Took are the machines that took that run's command, by a target's ID, and behind them the guests that
	// it has told, while it is under way: qemu/NODE/NUMBER or lxc/NODE/NUMBER.
	Took []string `json:"took,omitempty"`
	// Known is the highest epoch that the sender knows of.
	Known shutdown.Epoch `json:"known"`
	// Brain is what a brain said of its own run within the last seconds; nil: nothing.
	Brain *PiRun `json:"brain,omitempty"`
}

// PiUPS is a UPS as the sender sees it now.
type PiUPS struct {
	Name    string        `json:"name"`
	Reading power.Reading `json:"reading"`
}

// PiRun is how a run of the plan stands, whoever holds it.
type PiRun struct {
	State shutdown.State `json:"state"`
	ID    string         `json:"id,omitempty"`
	Epoch shutdown.Epoch `json:"epoch"`
	// AgeMS is since when it runs, or was first known to be over.
	AgeMS int64 `json:"age_ms,omitempty"`
	// Scope are the machines that it is for, if it is not for all of the plan (rule U7).
	Scope []string `json:"scope,omitempty"`
}

// Validate implements Message.
func (r *PiReport) Validate() error {
	if err := r.Header.validate(); err != nil {
		return err
	}
	if r.Site == "" {
		return errors.New("site: there is none")
	}
	if err := ValidName(r.To); err != nil {
		return fmt.Errorf("to: %w", err)
	}
	if r.ToBoot != "" || r.ToSeq != 0 {
		if err := (Header{V: Version, Node: r.To, Boot: r.ToBoot, Seq: r.ToSeq}).validate(); err != nil {
			return fmt.Errorf("to: %w", err)
		}
	}
	if len(r.UPSes) > MaxPiUPSes || len(r.Took) > MaxTook {
		return errors.New("too many upses or took")
	}
	for i, u := range r.UPSes {
		if err := ValidName(u.Name); err != nil {
			return fmt.Errorf("upses: %w", err)
		}
		if slices.ContainsFunc(r.UPSes[:i], func(o PiUPS) bool { return o.Name == u.Name }) {
			return fmt.Errorf("upses: %s stands there twice", u.Name)
		}
		if err := u.Reading.Validate(); err != nil {
			return fmt.Errorf("upses: %s: %w", u.Name, err)
		}
	}
	for _, id := range r.Took {
		if id == "" || len(id) > maxTook {
			return fmt.Errorf("took: %.80q is no machine", id)
		}
	}
	if err := validEpoch(r.Known); err != nil {
		return fmt.Errorf("known: %w", err)
	}
	if r.Brain != nil {
		if err := r.Brain.validate(); err != nil {
			return fmt.Errorf("brain: %w", err)
		}
	}
	if err := r.Run.validate(); err != nil {
		return fmt.Errorf("run: %w", err)
	}
	return nil
}

func (r PiRun) validate() error {
	switch r.State {
	case shutdown.None, shutdown.Begun, shutdown.Advancing, shutdown.HasEnded, shutdown.Stopped, shutdown.Disarmed:
	default:
		return fmt.Errorf("state: %.80q is none", r.State)
	}
	if len(r.ID) > maxRunID {
		return errors.New("id: too long")
	}
	if len(r.Scope) > MaxTook {
		return errors.New("scope: too many")
	}
	for _, name := range r.Scope {
		if name == "" || len(name) > maxTook {
			return fmt.Errorf("scope: %.80q is no machine", name)
		}
	}
	if r.AgeMS < 0 || r.AgeMS > maxAge.Milliseconds() {
		return fmt.Errorf("age_ms: %d cannot be", r.AgeMS)
	}
	return validEpoch(r.Epoch)
}

// maxCounter is far above what any site comes to: one that claims more would leave nobody room
// to begin a run above it.
const maxCounter = 1 << 40

func validEpoch(e shutdown.Epoch) error {
	if e == (shutdown.Epoch{}) {
		return nil
	}
	if e.Counter > maxCounter {
		return fmt.Errorf("epoch: %d cannot be", e.Counter)
	}
	if e.Holder == "" { // of a brain that has begun nothing yet
		return nil
	}
	return ValidName(e.Holder)
}
