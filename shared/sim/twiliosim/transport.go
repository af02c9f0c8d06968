package twiliosim

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
)

// Transport returns a RoundTripper that hands requests straight to the server:
// no sockets, so it works inside testing/synctest bubbles. Whatever host a
// request names, this server answers. The request's context ends a hanging one.
func (s *Server) Transport() http.RoundTripper { return transport{s} }

type transport struct{ s *Server }

func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body == nil {
		req = req.Clone(req.Context())
		req.Body = http.NoBody
	}
	defer func() { _ = req.Body.Close() }() // a RoundTripper closes it; the handler has read it
	w := &memory{header: make(http.Header)}
	if aborted := t.serve(w, req); aborted {
		w.cut = true
		if err := req.Context().Err(); err != nil {
			return nil, err
		}
		if w.status == 0 {
			return nil, io.EOF // as net/http reports a connection closed before the answer
		}
	}
	return w.response(req), nil
}

func (t transport) serve(w http.ResponseWriter, req *http.Request) (aborted bool) {
	defer func() {
		switch v := recover(); {
		case v == nil:
		case isAbort(v):
			aborted = true
		default:
			panic(v)
		}
	}()
	// The handler changes the request's body and form, which belong to the caller.
	t.s.ServeHTTP(w, req.Clone(req.Context()))
	return false
}

func isAbort(v any) bool {
	err, ok := v.(error)
	return ok && errors.Is(err, http.ErrAbortHandler)
}

// memory is a ResponseWriter without a connection.
type memory struct {
	header http.Header
	status int
	body   bytes.Buffer
	cut    bool // the connection breaks after body
}

func (m *memory) Header() http.Header { return m.header }

func (m *memory) WriteHeader(status int) {
	if m.status == 0 {
		m.status = status
	}
}

func (m *memory) Write(p []byte) (int, error) {
	m.WriteHeader(http.StatusOK)
	return m.body.Write(p)
}

func (m *memory) response(req *http.Request) *http.Response {
	var body io.Reader = &m.body
	length := int64(m.body.Len())
	if m.cut {
		body, length = io.MultiReader(body, broken{}), -1
	}
	return &http.Response{
		Status: strconv.Itoa(m.status) + " " + http.StatusText(m.status), StatusCode: m.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: m.header, Body: io.NopCloser(body), ContentLength: length, Request: req,
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
