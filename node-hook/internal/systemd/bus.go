package systemd

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/godbus/dbus/v5"

	"sentinel.home.arpa/shared/wire"
)

// The names on the bus, from org.freedesktop.systemd1(5) and org.freedesktop.login1(5).
const (
	systemdName    = "org.freedesktop.systemd1"
	systemdPath    = "/org/freedesktop/systemd1"
	systemdManager = "org.freedesktop.systemd1.Manager"
	logindName     = "org.freedesktop.login1"
	logindPath     = "/org/freedesktop/login1"
	logindManager  = "org.freedesktop.login1.Manager"
)

// callTimeout bounds each question on the bus; 3 ms is usual.
const callTimeout = time.Second

// systemBus is the bus's address, which the environment may change (dbus-daemon(1)).
func systemBus() string {
	if address := os.Getenv("DBUS_SYSTEM_BUS_ADDRESS"); address != "" {
		return address
	}
	return "unix:path=/run/dbus/system_bus_socket"
}

// connect opens a connection to a bus, or to systemd itself if direct: there is nobody to
// say hello to. It ends with ctx or Close.
func connect(ctx context.Context, address string, direct bool) (*dbus.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	overdue := time.AfterFunc(callTimeout, cancel) // neither Auth nor Hello takes a deadline
	conn, err := dbus.Dial(address, dbus.WithContext(ctx), dbus.WithSignalHandler(dbus.NewSequentialSignalHandler()))
	if err != nil {
		cancel()
		return nil, fmt.Errorf("connect to %s: %w", address, err)
	}
	context.AfterFunc(conn.Context(), cancel)
	if err = conn.Auth([]dbus.Auth{dbus.AuthExternal(fmt.Sprint(os.Geteuid()))}); err == nil && !direct {
		err = conn.Hello()
	}
	if err == nil && !overdue.Stop() {
		err = context.DeadlineExceeded
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("connect to %s: %w", address, err)
	}
	return conn, nil
}

// call asks and stores the answer. It starts no service that is not running.
func call(ctx context.Context, o dbus.BusObject, method string, into any, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c := o.CallWithContext(ctx, method, dbus.FlagNoAutoStart, args...)
	err := c.Err
	if err == nil && into != nil {
		err = c.Store(into)
	}
	if err != nil {
		return fmt.Errorf("call %s: %w", method, err)
	}
	return nil
}

// property reads a property into a pointer.
func property(ctx context.Context, o dbus.BusObject, iface, name string, into any) error {
	var v dbus.Variant
	if err := call(ctx, o, "org.freedesktop.DBus.Properties.Get", &v, iface, name); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if err := v.Store(into); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

// job is a line of systemd's ListJobs, a(usssoo).
type job struct {
	ID                uint32
	Unit, Type, State string
	Path, UnitPath    dbus.ObjectPath
}

// jobs asks systemd what it is about to do.
func jobs(ctx context.Context, conn *dbus.Conn) ([]job, error) {
	var list []job
	err := call(ctx, conn.Object(systemdName, systemdPath), systemdManager+".ListJobs", &list)
	return list, err
}

// jobKind is the kind of shutdown that systemd is about to perform.
func jobKind(ctx context.Context, conn *dbus.Conn) (wire.ShutdownKind, bool, error) {
	list, err := jobs(ctx, conn)
	if err != nil {
		return "", false, err
	}
	kind, ok := kindOfJobs(list)
	return kind, ok, nil
}
