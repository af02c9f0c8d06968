package home

import (
	"errors"
	"net"
	"sync"

	"sentinel.home.arpa/shared/sim/freeport"
)

// wayOut is what tells the Pi that the internet is there. Unlike a link, which takes connections
// and passes nothing, it refuses them while that is cut. The kernel takes them.
type wayOut struct {
	addrs [2]string

	mu  sync.Mutex
	lns [2]net.Listener // nil: cut
}

func (w *wayOut) open() error {
	for i := range w.addrs {
		var err error
		if w.addrs[i], err = freeAddr(anyAddr); err != nil {
			return err
		}
		if err := w.cut(i, false); err != nil { // before the other's is chosen
			return err
		}
	}
	return nil
}

func (w *wayOut) cut(i int, cut bool) (err error) {
	switch {
	case cut && w.lns[i] != nil:
		err = w.lns[i].Close()
		w.lns[i] = nil
	case !cut && w.lns[i] == nil && w.addrs[i] != "":
		w.lns[i], err = freeport.Again("tcp", w.addrs[i])
	}
	return err
}

// Cut has nobody beyond the house answer the Pi, or somebody again.
func (w *wayOut) Cut(cut bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return errors.Join(w.cut(0, cut), w.cut(1, cut))
}
