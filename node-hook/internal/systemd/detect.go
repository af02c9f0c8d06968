package systemd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"sentinel.home.arpa/shared/wire"
)

// Detector tells, when this program is asked to end, whether the machine ends with it.
type Detector struct {
	Cmdline string // of process 1
	Bus     string // the system bus's address
	Private string // systemd's own socket, asked if the bus does not say; "" if not
}

// NewDetector looks at this machine. Only root may ask systemd on its own socket.
func NewDetector() Detector {
	d := Detector{Cmdline: "/proc/1/cmdline", Bus: systemBus()}
	if os.Geteuid() == 0 {
		d.Private = "unix:path=/run/systemd/private"
	}
	return d
}

// Kind is the kind of shutdown that is under way; false if none is, as when only this
// program is stopped or upgraded (rule A8). The error says why a source could not be
// asked, and is no reason to believe in a shutdown. It takes 4 s at most, and a few ms as
// a rule.
func (d Detector) Kind(ctx context.Context) (wire.ShutdownKind, bool, error) {
	kind, ok, err := d.fromCmdline()
	if ok {
		return kind, true, nil
	}
	kind, ok, busErr := ask(ctx, d.Bus, false)
	if ok || busErr == nil || d.Private == "" {
		return kind, ok, errors.Join(err, busErr)
	}
	kind, ok, privateErr := ask(ctx, d.Private, true)
	if privateErr == nil {
		return kind, ok, nil
	}
	return "", false, errors.Join(err, busErr, privateErr)
}

func (d Detector) fromCmdline() (wire.ShutdownKind, bool, error) {
	f, err := os.Open(d.Cmdline)
	if err != nil {
		return "", false, fmt.Errorf("look at process 1: %w", err)
	}
	defer f.Close()
	cmdline, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return "", false, fmt.Errorf("look at process 1: %w", err)
	}
	kind, ok := kindOfCmdline(cmdline)
	return kind, ok, nil
}

func ask(ctx context.Context, address string, direct bool) (wire.ShutdownKind, bool, error) {
	conn, err := connect(ctx, address, direct)
	if err != nil {
		return "", false, fmt.Errorf("ask systemd for its jobs: %w", err)
	}
	defer conn.Close()
	kind, ok, err := jobKind(ctx, conn)
	if err != nil {
		return "", false, fmt.Errorf("ask systemd for its jobs: %w", err)
	}
	return kind, ok, nil
}

// PowerOff has logind power the machine off, as "systemctl poweroff" would: whoever watches
// for shutdowns sees it coming.
func (d Detector) PowerOff(ctx context.Context) error {
	conn, err := connect(ctx, d.Bus, false)
	if err != nil {
		return err
	}
	defer conn.Close()
	return call(ctx, conn.Object(logindName, logindPath), logindManager+".PowerOff", nil, false)
}
