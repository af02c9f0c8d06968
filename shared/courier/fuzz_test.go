package courier_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/wire"
)

// answering dials into memory, where each request is answered with the same bytes.
func answering(t *testing.T, data []byte) func(ctx context.Context, network, addr string) (net.Conn, error) {
	t.Helper()
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	return func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		wg.Go(func() {
			defer far.Close()
			req, err := http.ReadRequest(bufio.NewReader(far))
			if err == nil {
				_, _ = io.Copy(io.Discard, req.Body)
				_, _ = far.Write(data) // the client may have had enough
			}
		})
		return near, nil
	}
}

// FuzzPostAnswer: whatever comes back, nothing that the receiver's key has not signed for
// this request is an answer, and the error names who was asked.
func FuzzPostAnswer(f *testing.F) {
	key, err := wire.NewKey()
	if err != nil {
		f.Fatal(err)
	}
	other, err := wire.NewKey()
	if err != nil {
		f.Fatal(err)
	}
	signed, err := wire.Seal(wire.KindAnswer, answerTo(header("pve1")), other)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("HTTP/1.1 200 OK\r\n\r\n" + string(signed)))
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"))
	f.Add([]byte("HTTP/1.1 403 Forbidden\r\n\r\n{\"error\":\"no\",\"hint\":\"go\"}"))
	f.Add([]byte("HTTP/1.1 403 No\r\n\r\n{\"error\":\"" + strings.Repeat("x", 500) + "\\n\",\"hint\":\"\\u001b\"}"))
	f.Add([]byte(strings.Repeat("\x00\xff", 2000) + "\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 204 No Content\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 000 x\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 302 Found\r\nLocation: //x\r\nContent-Length: 0\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 500 x\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c := courier.NewClient(answering(t, data))
		defer c.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		a, err := c.Post(ctx, courier.Receiver{Name: "brain", URL: "http://192.0.2.1:80", Key: key.PublicKey()}, courier.PathHeartbeat, header("pve1"), []byte("{}"))
		if err == nil || a != nil {
			t.Fatalf("an answer: %+v", a)
		}
		if !strings.HasPrefix(err.Error(), "post to brain: ") {
			t.Errorf("does not name who was asked: %v", err)
		}
		if text := err.Error(); len(text) > 700 || strings.ContainsFunc(text, unicode.IsControl) {
			t.Errorf("an error of %d bytes: %.400q", len(text), text)
		}
		var no *courier.Refusal
		if !errors.As(err, &no) {
			return
		}
		if no.Status < 400 || no.Status >= 500 || no.Status == http.StatusRequestTimeout || no.Status == http.StatusTooManyRequests { // those leave it open
			t.Errorf("refused by %+v", no)
		}
		for _, words := range []string{no.Reason, no.Hint} {
			if len(words) > 300 || strings.ContainsFunc(words, unicode.IsControl) {
				t.Errorf("refused with %d bytes: %.400q", len(words), words)
			}
		}
	})
}

// FuzzThrough: a relay's word is taken only if it says 200, and for a closed target only
// in the relay's own way.
func FuzzThrough(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 502 Bad Gateway\r\nSentinel-Target: closed\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nabc"))
	f.Add([]byte("SSH-2.0-OpenSSH\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		conn, err := courier.Through(answering(t, data), "pi:7777", courier.ToAsk, nil)(t.Context(), "tcp", "192.0.2.1:8006")
		if err == nil {
			_ = conn.Close()
		}
		resp, bad := http.ReadResponse(bufio.NewReaderSize(strings.NewReader(string(data)), 4096), &http.Request{Method: http.MethodConnect})
		switch {
		case err == nil && (bad != nil || resp.StatusCode != http.StatusOK):
			t.Error("connected without a 200")
		case errors.Is(err, courier.ErrTargetClosed) && (bad != nil || resp.StatusCode != http.StatusBadGateway || resp.Header.Get("Sentinel-Target") != "closed"):
			t.Errorf("a closed target: %v", err)
		}
	})
}

// FuzzReadConnect: what no brain has signed asks for nothing.
func FuzzReadConnect(f *testing.F) {
	key, err := wire.NewKey()
	if err != nil {
		f.Fatal(err)
	}
	other, err := wire.NewKey()
	if err != nil {
		f.Fatal(err)
	}
	text, err := courier.SignConnect(wire.Connect{Header: header("cloud"), Pi: "pi", Addr: "192.0.2.1:8006"}, other)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(text[:len(text)-4])
	f.Add("Basic YTpi")
	f.Add(courier.ConnectScheme + " " + base64.StdEncoding.EncodeToString([]byte("{}")))
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := courier.ReadConnect(text, key.PublicKey()); err == nil {
			t.Errorf("asks for %+v", c)
		}
	})
}
