package hook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"sentinel.home.arpa/node-hook/internal/announce"
	"sentinel.home.arpa/node-hook/internal/systemd"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/wire"
)

// findTimeout is what looking for brains may take of an announcement's time.
const findTimeout = 500 * time.Millisecond

// Announce announces from a process of its own, with the agent's key and peers. Without a
// kind it finds out whether a shutdown is under way, and is silent if none is. It prints
// who acknowledged; the error says that nobody did.
func (b Build) Announce(ctx context.Context, path string, kind wire.ShutdownKind, out io.Writer) error {
	return b.announce(ctx, path, kind, out, systemd.NewDetector())
}

func (b Build) announce(ctx context.Context, path string, kind wire.ShutdownKind, out io.Writer, machine systemd.Detector) error {
	c, err := b.Load(path)
	if err != nil {
		return err
	}
	if kind == "" {
		if !c.Logind {
			return nil
		}
		found, ok, _ := machine.Kind(ctx) // what can't be asked says nothing of a shutdown
		if !ok {
			return nil
		}
		kind = found
	}
	a, err := newAgent(c, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	switch {
	case b.joins(c): // the running agent is the machine; what it learnt of the brain is on disk
		a.client = courier.NewClient(a.split(a.bySocket))
	case len(c.Brains) == 0:
		find, cancel := context.WithTimeout(ctx, findTimeout)
		a.found(a.tailscaled(find))
		cancel()
	}
	defer a.client.Close()
	by, err := a.sender().Send(ctx, announce.NewID(), kind)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s acknowledged by %s\n", kind, strings.Join(by, ", "))
	return err
}

// Check reads a configuration as Run would.
func (b Build) Check(path string, out io.Writer) error {
	if _, err := b.Load(path); err != nil {
		return err
	}
	text := "fine"
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		text = "there is none, so all is as by default: fine"
	}
	_, err := fmt.Fprintf(out, "%s: %s\n", path, text)
	return err
}

// PrintKey prints the agent's public key, once it has made one.
func (b Build) PrintKey(path string, out io.Writer) error {
	c, err := b.Load(path)
	if err != nil {
		return err
	}
	return wire.PrintKey(out, c.StateDir)
}
