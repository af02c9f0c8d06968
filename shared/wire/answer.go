package wire

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"sentinel.home.arpa/shared/power"
	"sentinel.home.arpa/shared/shutdown"
)

// Answer is what brain and Pi say to a message. It is signed by the answerer and names
// the request, so that an old one cannot be passed off as new.
type Answer struct {
	Header        // of the answerer
	To     string `json:"to"`      // the asker
	ToBoot string `json:"to_boot"` // and its request
	ToSeq  int64  `json:"to_seq"`

	BrainKey PublicKey `json:"brain_key,omitempty"`
	Pis      []Peer    `json:"pis,omitempty"` // the site's
	Mandate  *Mandate  `json:"mandate,omitempty"`
	Bundle   *Bundle   `json:"bundle,omitempty"` // only if the asker named another hash
	Calls    *Calls    `json:"calls,omitempty"`  // likewise
	// Taken are the relayed messages that need not be sent again, by their place.
	Taken []int `json:"taken,omitempty"`
	// Leaving says that the answerer was told to stop: it is about to be restarted, or its
	// machine is (rule N5).
	Leaving bool `json:"leaving,omitempty"`
	// Order is a sealed Order that came beside the answer, not in it: an agent that knows of
	// none refuses answers with what it does not know.
	Order []byte `json:"-"`
}

// Validate implements Message.
func (a *Answer) Validate() error {
	if err := a.Header.validate(); err != nil {
		return err
	}
	if len(a.Pis) > 16 || len(a.Taken) > MaxRelayed {
		return errors.New("too many pis or taken")
	}
	return a.Calls.validate()
}

// DecodeAnswer reads an answer that came without an envelope.
func DecodeAnswer(data []byte, into *Answer) error { return decode(data, into) }

// Answers reports whether this is the answer to that request.
func (a *Answer) Answers(h Header) bool {
	return a.To == h.Node && a.ToBoot == h.Boot && a.ToSeq == h.Seq
}

// Peer is a program that others talk to.
type Peer struct {
	Name    string    `json:"name"`
	Address string    `json:"address,omitempty"` // host:port
	Key     PublicKey `json:"key,omitempty"`
}

// Mandate says who acts and how far the brain has come.
type Mandate struct {
	Epoch shutdown.Epoch `json:"epoch"`
	Run   shutdown.State `json:"run"`
	RunID string         `json:"run_id,omitempty"`
	// Hosts are to be ordered off under that run now: by the Pi, those that it hears and the
	// brain may not. They are named anew in each answer, for a few seconds.
	Hosts []string `json:"hosts,omitempty"`
	// On is what the run is for, if the power is no reason of it.
	On shutdown.Cause `json:"on,omitempty"`
	// Scope are the machines that the run is for, if it is not for all of the plan (rule U7).
	Scope  []string `json:"scope,omitempty"`
	Bundle string   `json:"bundle"` // hash of the site's bundle as the brain has it
}

// Bundle is what a Pi needs to guard its site by itself. Secrets are not in it; it
// names the credentials that the Pi must have.
type Bundle struct {
	Site        string               `json:"site"`
	Armed       bool                 `json:"armed"`
	Plan        shutdown.Plan        `json:"plan"`
	Policy      power.Policy         `json:"policy"`
	TokenID     string               `json:"token_id,omitempty"`
	TokenSecret string               `json:"token_secret,omitempty"` // the credential's name
	Keys        map[string]PublicKey `json:"keys"`                   // of nodes
	Pis         []Peer               `json:"pis,omitempty"`
	// OnFailure has the brain shut the site down for failed nodes too, so also on mains, and InternetAfter
	// the Pi once the internet has been out for so long; 0: never (rule S0).
	OnFailure     bool          `json:"on_failure,omitempty"`
	InternetAfter time.Duration `json:"internet_after,omitempty"`
}

// Hash names the bundle's contents.
func (b Bundle) Hash() (string, error) {
	data, err := json.Marshal(b) // map keys are sorted
	if err != nil {
		return "", fmt.Errorf("hash the bundle: %w", err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16]), nil
}
