package twiliosim

import (
	"bytes"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

const maxBody = 1 << 20

// answer is a response before it leaves.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func jsonAnswer(status int, v any) answer {
	body, err := json.Marshal(v)
	if err != nil { // cannot be: maps and structs of strings and numbers
		body, status = []byte(err.Error()), http.StatusInternalServerError
	}
	return answer{status, http.Header{"Content-Type": {"application/json"}}, body}
}

// refusal is Twilio's error answer, https://www.twilio.com/docs/usage/twilios-response.
func refusal(code int, message string) answer {
	status := http.StatusBadRequest
	switch code {
	case 20003:
		status = http.StatusUnauthorized
	case 20005:
		status = http.StatusForbidden
	case 20404:
		status = http.StatusNotFound
	case 20004:
		status = http.StatusMethodNotAllowed
	case 20429:
		status = http.StatusTooManyRequests
	case 20500:
		status = http.StatusInternalServerError
	case 20503:
		status = http.StatusServiceUnavailable
	}
	return jsonAnswer(status, map[string]any{
		"code": code, "message": message, "status": status,
		"more_info": "https://www.twilio.com/docs/errors/" + strconv.Itoa(code),
	})
}

// request is an authenticated request with its parameters.
type request struct {
	*http.Request
	query, form url.Values
}

type handler func(request) answer

func (s *Server) routes() {
	account := "/2010-04-01/Accounts/{account}"
	for path, methods := range map[string]map[string]handler{
		"/2010-04-01/Accounts/{file}":          {"GET": s.getAccount},
		account + "/Balance.json":              {"GET": s.getBalance},
		account + "/IncomingPhoneNumbers.json": {"GET": s.listNumbers},
		account + "/OutgoingCallerIds.json":    {"GET": s.listCallers},
		account + "/Calls.json":                {"GET": s.listCalls, "POST": s.createCall},
		account + "/Calls/{file}":              {"GET": s.getCall, "POST": s.updateCall},
		account + "/Messages.json":             {"GET": s.listMessages, "POST": s.createMessage},
		account + "/Messages/{file}":           {"GET": s.getMessage},
	} {
		s.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			h := methods[r.Method]
			if h == nil {
				h = func(request) answer { return refusal(20004, "Method not allowed") }
			}
			if a := r.PathValue("account"); a != "" && a != s.cfg.AccountSID {
				h = notFound
			}
			s.exchange(w, r, h)
		})
	}
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { s.exchange(w, r, notFound) })
}

func notFound(r request) answer {
	return refusal(20404, "The requested resource "+r.URL.Path+" was not found")
}

// ServeHTTP implements [http.Handler]. Faults that break the connection panic
// with [http.ErrAbortHandler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.enter() {
		panic(http.ErrAbortHandler)
	}
	defer s.busy.Done()
	s.mux.ServeHTTP(w, r)
}

// exchange answers one request, or does what a fault says instead.
func (s *Server) exchange(w http.ResponseWriter, r *http.Request, h handler) {
	ex := Exchange{At: time.Now(), Method: r.Method, Path: r.URL.Path, Query: r.URL.Query()}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if err := r.ParseForm(); err != nil {
		s.send(w, ex, refusal(20001, "Malformed request body"))
		return
	}
	ex.Form = r.PostForm
	if !s.authentic(r) {
		s.send(w, ex, refusal(20003, "Authenticate"))
		return
	}
	if no := s.allowed(r.URL.Path); no != nil {
		s.send(w, ex, *no)
		return
	}
	req := request{r, ex.Query, ex.Form}
	fault, faulty := s.takeFault(r.Method, r.URL.Path)
	if !faulty {
		s.send(w, ex, h(req))
		return
	}
	ex.Fault = fault.Kind
	var full answer
	if fault.Done || fault.Kind == HalfAnswer {
		full = h(req)
	}
	a, answered := fault.spoil(full)
	if answered && fault.Kind != HalfAnswer {
		s.send(w, ex, a)
		return
	}
	s.edge(ex)
	switch fault.Kind {
	case Hang:
		select {
		case <-r.Context().Done():
		case <-s.done:
		}
	case HalfAnswer:
		a.header.Set("Content-Length", strconv.Itoa(len(full.body)))
		write(w, a)
		_ = http.NewResponseController(w).Flush() // gone or not, the connection is cut next
	}
	panic(http.ErrAbortHandler)
}

func (s *Server) authentic(r *http.Request) bool {
	key, secret, _ := r.BasicAuth()
	return subtle.ConstantTimeCompare([]byte(key+":"+secret), []byte(s.cfg.KeySID+":"+s.cfg.KeySecret)) == 1
}

func (s *Server) send(w http.ResponseWriter, ex Exchange, a answer) {
	ex.Status, ex.Answer = a.status, bytes.Clone(a.body)
	s.edge(ex)
	write(w, a)
}

func (s *Server) edge(ex Exchange) {
	if s.cfg.Edge != nil {
		s.cfg.Edge(ex)
	}
}

func write(w http.ResponseWriter, a answer) {
	for k, v := range a.header {
		w.Header()[k] = v
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // the client has gone: nobody left to tell
}

// list cuts the page that a list request asks for out of items and wraps it as
// Twilio does.
func list(r request, name string, items []any) answer {
	size, page := 50, 0
	for key, to := range map[string]*int{"PageSize": &size, "Page": &page} {
		if v := r.query.Get(key); v != "" {
			n, err := strconv.Atoi(v)
			if err != nil || n < 0 || (key == "PageSize" && (n < 1 || n > 1000)) {
				return refusal(20001, "Invalid "+key)
			}
			*to = n
		}
	}
	from := min(page*size, len(items))
	to := min(from+size, len(items))
	uri := func(page int) string {
		q := url.Values{}
		for k, v := range r.query {
			q[k] = v
		}
		q.Set("PageSize", strconv.Itoa(size))
		q.Set("Page", strconv.Itoa(page))
		return fmt.Sprintf("%s?%s", r.URL.Path, q.Encode())
	}
	var next, previous any
	if to < len(items) {
		next = uri(page + 1)
	}
	if page > 0 {
		previous = uri(page - 1)
	}
	return jsonAnswer(http.StatusOK, map[string]any{
		name: append([]any{}, items[from:to]...), "page": page, "page_size": size, "start": from, "end": max(to-1, 0),
		"uri": uri(page), "first_page_uri": uri(0), "next_page_uri": next, "previous_page_uri": previous,
	})
}
