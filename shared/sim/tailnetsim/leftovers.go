package tailnetsim

import "go.uber.org/goleak"

// Leftovers are the goroutines that a tsnet.Server may leave behind when it is closed while the
// machine is busy: those of a connection to its local API, in memory, that was dialled and never
// used. A real connection that leaks still shows, by the goroutine that reads it.
func Leftovers() []goleak.Option {
	return []goleak.Option{
		goleak.IgnoreAnyFunction("tailscale.com/net/memnet.(*Pipe).readOrBlock"),
		goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop"),
	}
}
