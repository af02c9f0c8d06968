package pvesim

import (
	"compress/gzip"
	"context"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

const (
	apiPrefix   = "/api2/json"
	jsonType    = "application/json;charset=UTF-8"
	maxPost     = 512 << 10 // what the real server takes
	maxRecorded = 4 << 10
)

// answer is what goes back over the wire.
type answer struct {
	status int // 0: leave it hanging
	reason string
	ctype  string
	body   []byte
}

// serve answers one request on a node's port.
func (c *Cluster) serve(n *node, s *session, w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	if s.ctx.Err() != nil || c.closed {
		c.mu.Unlock()
		panic(http.ErrAbortHandler) // the node went off meanwhile
	}
	c.wg.Add(1)
	fault := n.fault.at(r)
	c.mu.Unlock()
	defer c.wg.Done()

	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPost))
	x := Exchange{At: time.Now(), Node: n.cfg.Name, Method: r.Method, Path: r.URL.RequestURI(),
		ContentType: r.Header.Get("Content-Type"), Body: bounded(body)}

	var a answer
	if fault.Kind == Slow {
		sleep(s.ctx, fault.Delay)
	}
	switch fault.Kind {
	case Hang:
	case Status:
		a = answer{status: fault.Code, reason: fault.Reason}
	case HTML200:
		a = answer{status: http.StatusOK, ctype: "text/html", body: []byte("<!DOCTYPE html><title>Welcome</title>")}
	default:
		if err != nil {
			a = answer{status: http.StatusNotImplemented, reason: "for data too large"}
		} else {
			a = c.answer(r.Context(), n, r, body, fault)
		}
	}
	if s.ctx.Err() != nil {
		panic(http.ErrAbortHandler)
	}
	x.Status, x.Reason, x.Answer = a.status, a.reason, bounded(a.body)
	if a.status == http.StatusOK {
		x.Reason = "OK"
	}
	if c.cfg.Edge != nil {
		c.cfg.Edge(x)
	}
	if a.status == 0 {
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	}
	if fault.Kind == Half || fault.Kind == Cut {
		a.writeHalf(w, r, fault.Kind == Half)
		return
	}
	a.write(w, r)
}

func bounded(b []byte) string {
	return string(b[:min(len(b), maxRecorded)])
}

// answer does what the real server does with a request, beginning with its form.
func (c *Cluster) answer(ctx context.Context, n *node, r *http.Request, body []byte, fault Fault) answer {
	if r.URL.Path != apiPrefix && !strings.HasPrefix(r.URL.Path, apiPrefix+"/") {
		return plain(http.StatusNotImplemented, "no such uri")
	}
	if text := c.authenticate(r, fault); text != "" {
		sleep(ctx, c.cfg.AuthDelay)
		return answer{status: http.StatusUnauthorized, reason: text}
	}
	if r.ContentLength < 0 {
		return plain(http.StatusNotImplemented, "chunked transfer encoding not supported")
	}
	if len(body) > 0 && r.Method != http.MethodPost && r.Method != http.MethodPut {
		return plain(http.StatusNotImplemented, fmt.Sprintf("Unexpected content for method '%s'", r.Method))
	}
	data, fail := c.dispatch(ctx, n, r, body, fault)
	if fail != nil {
		return fail.answer()
	}
	return jsonAnswer(http.StatusOK, "OK", object{"data": data})
}

// authenticate returns why the request is not let in, or "".
func (c *Cluster) authenticate(r *http.Request, fault Fault) string {
	got, ok := strings.CutPrefix(r.Header.Get("Authorization"), "PVEAPIToken=")
	if !ok {
		return "No ticket"
	}
	want := c.cfg.TokenID + "=" + c.cfg.Secret
	if subtle.ConstantTimeCompare([]byte(got), []byte(want)) != 1 || fault.Kind == Unauthorized {
		return "Authentication failed!"
	}
	return ""
}

func plain(code int, text string) answer {
	return answer{status: code, reason: text, body: []byte(text)}
}

func jsonAnswer(code int, reason string, o object) answer {
	b, err := json.Marshal(o)
	if err != nil {
		return plain(http.StatusInternalServerError, err.Error())
	}
	return answer{status: code, reason: reason, ctype: jsonType, body: b}
}

func (f *failure) answer() answer {
	if f.code >= connectFailed { // made by the forwarding client, which has nothing to say
		return answer{status: f.code, reason: f.reason}
	}
	o := object{"data": nil, "message": f.reason + "\n"}
	if len(f.errors) > 0 {
		o["errors"] = f.errors
	}
	return jsonAnswer(f.code, f.reason, o)
}

// write sends the answer. Everything but 200 is written by hand, since net/http
// allows no reason phrase of one's own, and ends the connection as Proxmox does.
func (a answer) write(w http.ResponseWriter, r *http.Request) {
	if a.status == http.StatusOK {
		w.Header().Set("Content-Type", a.ctype)
		w.Header().Set("Server", "pve-api-daemon/3.0")
		if len(a.body) > 1024 && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			_, _ = z.Write(a.body)
			_ = z.Close()
			return
		}
		_, _ = w.Write(a.body)
		return
	}
	conn := hijack(w)
	defer func() { _ = conn.Close() }()
	_, _ = io.WriteString(conn, a.head()+string(a.body))
}

// writeHalf breaks the answer off in the middle, and then stays silent until the other side
// gives up, or hangs up.
func (a answer) writeHalf(w http.ResponseWriter, r *http.Request, stay bool) {
	conn := hijack(w)
	defer func() { _ = conn.Close() }()
	_, _ = io.WriteString(conn, a.head()+string(a.body[:len(a.body)/2]))
	if stay {
		_, _ = io.Copy(io.Discard, conn)
	}
}

func hijack(w http.ResponseWriter) net.Conn {
	h, ok := w.(http.Hijacker)
	if !ok {
		panic(http.ErrAbortHandler)
	}
	conn, _, err := h.Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	return conn
}

func (a answer) head() string {
	reason, _, _ := strings.Cut(a.reason, "\n")
	head := fmt.Sprintf("HTTP/1.1 %d %s\r\nServer: pve-api-daemon/3.0\r\nConnection: close\r\nContent-Length: %d\r\n",
		a.status, reason, len(a.body))
	if a.ctype != "" {
		head += "Content-Type: " + a.ctype + "\r\n"
	}
	return head + "\r\n"
}
