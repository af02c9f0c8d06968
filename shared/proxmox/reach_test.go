package proxmox

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// TestS4_ASilentHostIsSeenToBeSilent: a host that is off refuses nothing; it must be seen
// to be closed before whoever looks, for 3 s at most, has lost patience.
func TestS4_ASilentHostIsSeenToBeSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := New(Options{Node: "pve1", API: "https://192.0.2.1:8006", TokenID: testToken, Secret: testSecret})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.dial = func(ctx context.Context, _, _ string) (net.Conn, error) { // the machine's own network, without an answer
			<-ctx.Done()
			return nil, &net.OpError{Op: "dial", Err: ctx.Err()}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		reach, err := c.Reachable(ctx)
		if err != nil || reach.State != Silent || !reach.Closed() {
			t.Errorf("%+v, %v", reach, err)
		}
	})
}
