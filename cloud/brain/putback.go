package brain

import "errors"

var errNoMains = errors.New("the mains are not known to be there")

// mayStart is the last look before a guest is started again: the mains must be known to be
// there, and the process not have stood still (rules S5, H8).
func (b *Brain) mayStart(site, run, _ string) error {
	v := b.view.Load()
	switch {
	case v == nil || v.starts[site] != run:
		return errNoMains
	case b.clock.Now().Sub(v.at) > pausedAfter:
		return errNotSure
	}
	return nil
}
