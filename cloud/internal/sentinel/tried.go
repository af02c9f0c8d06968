package sentinel

import (
	"fmt"
	"time"
)

// ChannelWorks ends the spell that ChannelFailing began.
type ChannelWorks struct {
	Contact, Channel string
	For              time.Duration // so long it had failed
}

// ChannelTried is a notice that somebody sent to see that a channel works, and what became of it.
type ChannelTried struct {
	Contact, Channel, By string
	Delivered            bool
	Outcome              string
}

// Tried is such a notice, as it comes to the core. A channel that does not take it fails, and one that
// takes it works, as with any other notice (rule C7).
type Tried struct{ ChannelTried }

func (Tried) input() {}

func (d *decider) tried(in Tried) {
	d.emit(&in.ChannelTried)
	n := &Notice{Contact: in.Contact, Channel: in.Channel}
	if !in.Delivered {
		d.channelFails(n, in.Outcome)
	} else if ch := d.channel(n.Contact, n.Channel); ch.fails() {
		d.emit(&ChannelWorks{Contact: n.Contact, Channel: n.Channel, For: d.now.Sub(ch.Failing)})
	}
}

func (f *ChannelTried) sentence() string {
	return fmt.Sprintf("%s tried %s of %s: %s", f.By, f.Channel, f.Contact, f.Outcome)
}
