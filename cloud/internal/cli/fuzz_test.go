package cli

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// FuzzPress: whatever the socket answers, only a 2xx is a yes, and a no says something.
func FuzzPress(f *testing.F) {
	f.Add([]byte("HTTP/1.1 204 No Content\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 409 Conflict\r\n\r\n{\"error\":\"no\",\"hint\":\"x\"}"))
	f.Add([]byte("HTTP/1.1 301 Moved\r\nLocation: http://192.0.2.1/\r\n\r\n"))
	f.Add([]byte("\x00\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		socket := filepath.Join(t.TempDir(), "s")
		ln, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		defer wg.Wait()
		defer ln.Close()
		wg.Go(func() {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				_, _ = c.Write(data) // the other side may have had enough
			}
		})
		err = Operator{Socket: socket}.Press("/api/v1/plan/arm")
		resp, bad := http.ReadResponse(bufio.NewReader(strings.NewReader(string(data))), &http.Request{Method: http.MethodPost})
		if err == nil && (bad != nil || resp.StatusCode/100 > 2) {
			t.Errorf("a yes: %q", data)
		}
		if err != nil && strings.TrimSpace(err.Error()) == "" {
			t.Error("a no without a word")
		}
		if bad == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
		}
	})
}
