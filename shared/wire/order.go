package wire

import (
	"errors"
	"fmt"

	"sentinel.home.arpa/shared/shutdown"
)

// Order tells a host to power off: a brain or Pi runs the armed plan (rule H10). It goes with
// the answer to a heartbeat, is signed, and is for that heartbeat alone: one that comes again,
// or to another machine, boot or time, is none.
type Order struct {
	Header        // of the brain or Pi that gives it
	To     string `json:"to"`      // the host
	ToBoot string `json:"to_boot"` // and the heartbeat that this answers
	ToSeq  int64  `json:"to_seq"`

	Kind  ShutdownKind   `json:"kind"` // poweroff; there is no other order
	Armed bool           `json:"armed"`
	Run   string         `json:"run"` // the plan's
	Epoch shutdown.Epoch `json:"epoch"`
}

// MaxOrder bounds a sealed order, in bytes: it travels in a header.
const MaxOrder = 4 << 10

// ErrOrder is why an order is not obeyed.
var ErrOrder = errors.New("this is no order to this machine")

// Validate implements Message.
func (o *Order) Validate() error {
	if err := o.Header.validate(); err != nil {
		return err
	}
	if o.Kind != Poweroff || !o.Armed || o.Run == "" || len(o.Run) > 200 || o.Epoch.Counter == 0 || ValidName(o.Epoch.Holder) != nil {
		return errors.New("it names no armed plan's run that powers machines off")
	}
	return nil
}

// OpenOrder reads an order that came with the answer to a heartbeat, of which h is the header,
// from who signs with that key. Any error means that nothing may be done.
func OpenOrder(sealed []byte, h Header, key PublicKey) (*Order, error) {
	if len(sealed) > MaxOrder || key == "" {
		return nil, fmt.Errorf("%w: too long, or from nobody", ErrOrder)
	}
	e, err := Read(sealed)
	if err != nil {
		return nil, err
	}
	if err := e.Verify(key); err != nil {
		return nil, err
	}
	var o Order
	if err := e.Decode(KindOrder, &o); err != nil {
		return nil, err
	}
	if o.To != h.Node || o.ToBoot != h.Boot || o.ToSeq != h.Seq {
		return nil, ErrOrder
	}
	return &o, nil
}
