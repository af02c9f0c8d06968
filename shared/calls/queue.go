package calls

import "context"

// underway is an order that is carried out, or waits for its number.
type underway struct {
	number string
	urgent bool
	has    bool          // it has its number
	drop   chan struct{} // closed when it is taken back
	// behind has what an urgent order closes once it has the number.
	behind chan (<-chan struct{})
}

// overtake has an urgent order go before what waits for its number, and takes back what rings there. The
// lock is held.
func (c *Caller) overtake(o Order, first <-chan struct{}) {
	for id, u := range c.orders {
		switch {
		case u.number != o.Number || u.urgent:
		case u.has:
			c.log.Info("a call gives way to an urgent one", "call", id, "urgent", o.ID)
			c.drop(id)
		default:
			select {
			case u.behind <- first:
			default: // it stands behind another
			}
		}
	}
}

// wait waits for the number; or it was dropped, or the context has ended.
func (c *Caller) wait(ctx context.Context, u *underway, line chan struct{}) (got, dropped bool) {
	to := line
	var first <-chan struct{}
	for {
		select {
		case to <- struct{}{}:
			if first = c.takes(u); first == nil {
				return true, false
			}
			<-line
			to = nil
		case first = <-u.behind:
			to = nil
		case <-first:
			to, first = line, nil
		case <-u.drop:
			return false, true
		case <-ctx.Done():
			return false, false
		}
	}
}

// takes notes that an order has its number, or returns what it has to wait for meanwhile.
func (c *Caller) takes(u *underway) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case first := <-u.behind:
		return first
	default:
	}
	u.has = true
	return nil
}
