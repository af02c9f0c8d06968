// Package orders obeys a brain's or Pi's order to power this machine off (rule H10), and
// nothing that is not one in every respect.
//
// It knows no way to power off, and must not import the packages that do.
package orders

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/wire"
)

// again is the least time between two orders that are obeyed, or two of which it is said that
// they are not: they come each second.
const again = 10 * time.Second

// errOff is why no order is obeyed.
var errOff = errors.New("orders are not obeyed here: node.yaml has obey_orders: off or logind: off")

// Obeyer takes orders. It is safe for concurrent use.
type Obeyer struct {
	KeyOf    func(from courier.Receiver) wire.PublicKey // that it is known by
	PowerOff func(ctx context.Context) error            // nil: no order is obeyed
	Log      *slog.Logger

	mu       sync.Mutex
	obeyed   time.Time
	declined time.Time
}

// Take obeys the order that came with a verified answer, if one did.
func (o *Obeyer) Take(ctx context.Context, from courier.Receiver, a *wire.Answer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	if len(a.Order) == 0 || now.Sub(o.obeyed) < again {
		return
	}
	order, err := wire.OpenOrder(a.Order, wire.Header{Node: a.To, Boot: a.ToBoot, Seq: a.ToSeq}, o.KeyOf(from))
	switch {
	case err != nil:
	case o.PowerOff == nil:
		err = errOff
	default:
		o.obeyed = now
		o.Log.Warn("powering off, as ordered: the power is out", "by", order.Node, "run", order.Run)
		err = o.PowerOff(ctx)
	}
	if err != nil && (!o.obeyed.Before(now) || now.Sub(o.declined) >= again) {
		o.declined = now
		o.Log.Error("order not obeyed", "from", from.Name, "err", err)
	}
}
