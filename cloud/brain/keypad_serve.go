package brain

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/daemon"
)

// wayInAgain is after how long a way in for keys that failed is tried again.
const wayInAgain = 10 * time.Minute

// keysPerConnection bounds what a stranger on the internet may hold: a key is a line.
const keysPerConnection = 10 * time.Second

// serveKeys takes keys for as long as the context lasts. Where the tailnet allows no funnel, or another
// program has the port, calls go without them, and the page says so.
func (b *Brain) serveKeys(ctx context.Context) error {
	for {
		ln, address, remedy, err := b.wayIn(ctx)
		if err == nil {
			b.noKeys.Store(nil)
			b.askForKeys(address)
			return b.takeKeys(ctx, ln)
		}
		if ctx.Err() != nil {
			return nil
		}
		b.keypad.Load().open("")
		b.log.Warn("calls have no keys", "err", err)
		b.noKeys.Store(new(fmt.Sprintf("Calls have no keys, and whoever takes one is taken to know: %s. "+
			"%s, or remove calls.keypad from cloud.yaml.", err, remedy)))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wayInAgain):
		}
	}
}

// wayIn is where keys come in, and by which address; remedy is what helps where it fails.
func (b *Brain) wayIn(ctx context.Context) (ln net.Listener, address, remedy string, err error) {
	pad := b.cfg().Calls.Keypad
	if pad.Funnel {
		ln, address, err = b.funnel(ctx, pad.Port)
		return ln, address, "The tailnet must allow Funnel to this machine", err
	}
	if ln, err = b.machine.listen("tcp", pad.Listen); err != nil {
		err = fmt.Errorf("listen at %s: %w", pad.Listen, err)
	}
	return ln, pad.Address, "Give calls.keypad.listen a port that is free", err
}

// haveKeypad makes the keypad, which knows calls that were placed with keys by an earlier process. The
// address of a funnel comes later; a proxy's is known.
func (b *Brain) haveKeypad(ctx context.Context) error {
	secret, err := b.key.Sign(ctx, []byte("the paths of calls' keys")) // the same after a restart, and nobody else's
	if err != nil {
		return fmt.Errorf("make paths for keys: %w", err)
	}
	sum := sha256.Sum256(secret)
	b.keypad.Store(&keypad{tokens: func() []string { return b.set.Load().tokens }, secret: sum[:],
		press:   func(ctx context.Context, p sentinel.Pressed) error { return b.submit(ctx, p) },
		refused: func(reason string) { b.metrics.refused.WithLabelValues(reason).Inc() },
		spoken:  map[string]spoken{}, taken: map[string]string{}})
	if pad := b.cfg().Calls.Keypad; !pad.Funnel {
		b.keypad.Load().open(strings.TrimSuffix(pad.Address, "/"))
	}
	return nil
}

// askForKeys has calls ask for keys from now on, which come by that address.
func (b *Brain) askForKeys(address string) {
	b.keypad.Load().open(strings.TrimSuffix(address, "/"))
	b.log.Info("calls ask for keys", "address", address)
}

// takeKeys serves the keypad alone, once it knows of the calls that an earlier process placed: until
// then keys wait on the listener.
func (b *Brain) takeKeys(ctx context.Context, ln net.Listener) error {
	select {
	case <-b.resumed:
	case <-ctx.Done():
	}
	return daemon.Serve(ctx, ln, b.keypad.Load(), "keypad", func(s *http.Server) { s.IdleTimeout = keysPerConnection })
}
