package courier

import (
	"errors"
	"net/http"
	"strings"
)

// JSONErrors has what nobody answers at a listener, an unknown path or method, read as
// every other error does. The status and Allow stay; what a route of an http.ServeMux
// answers is not looked at.
func JSONErrors(h http.Handler) http.Handler {
	mux, isMux := h.(*http.ServeMux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isMux {
			route, pattern := mux.Handler(r)
			switch {
			case pattern == "":
			case strings.Contains(pattern, "{") || r.RequestURI == "*":
				mux.ServeHTTP(w, r)
				return
			default: // a route without wildcards need not be looked for twice
				r.Pattern = pattern
				route.ServeHTTP(w, r)
				return
			}
		}
		h.ServeHTTP(&jsonErrors{ResponseWriter: w}, r)
	})
}

// jsonErrors replaces net/http's own text of 404 and 405.
type jsonErrors struct {
	http.ResponseWriter
	told bool // in place of what follows
}

// Unwrap lets http.ResponseController through.
func (j *jsonErrors) Unwrap() http.ResponseWriter { return j.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (j *jsonErrors) WriteHeader(status int) {
	f := &Fault{Status: status}
	switch allow := j.Header().Get("Allow"); {
	case !strings.HasPrefix(j.Header().Get("Content-Type"), "text/plain"):
	case status == http.StatusNotFound:
		f.Err, f.Hint = errors.New("there is nothing at this path"), "look at the path, and at the address"
	case status == http.StatusMethodNotAllowed:
		f.Err = errors.New("this path does not take that method")
		if allow != "" {
			f.Hint = "use " + allow
		}
	}
	if f.Err == nil {
		j.ResponseWriter.WriteHeader(status)
		return
	}
	j.told = true
	Fail(j.ResponseWriter, f)
}

// Write implements http.ResponseWriter.
func (j *jsonErrors) Write(p []byte) (int, error) {
	if j.told {
		return len(p), nil
	}
	return j.ResponseWriter.Write(p)
}
