package cli

import (
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// brain answers on a Unix socket, and tells what it was asked.
func brain(t *testing.T, h http.HandlerFunc) (Operator, *[]string) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	asked := new([]string)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, r.Method+" "+r.URL.EscapedPath())
		h(w, r)
	})}
	ended := make(chan struct{})
	go func() { defer close(ended); server.Serve(ln) }()
	t.Cleanup(func() { server.Close(); <-ended })
	return Operator{Socket: socket}, asked
}

func TestPress(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		want   string // of the error; empty: none
	}{
		{"done", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, ""},
		{"a reason", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"error":"no incident \"x\" is open"}`)
		}, `no incident "x" is open`},
		{"a reason and a hint", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusConflict)
			fmt.Fprint(w, `{"error":"there is no plan","hint":"add plan: to cloud.yaml"}`)
		}, "there is no plan; add plan: to cloud.yaml"},
		{"no JSON", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusBadGateway) }, "the brain answered 502 Bad Gateway"},
		{"JSON of another kind", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprint(w, `{"error":""}`)
		}, "the brain answered 500 Internal Server Error"},
		{"an endless answer", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprint(w, `{"error":"`, strings.Repeat("x", 2*maxAnswer), `"}`)
		}, "the brain answered 500 Internal Server Error"},
		{"elsewhere", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/other", http.StatusSeeOther) }, "the brain answered 303 See Other"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o, asked := brain(t, tt.answer)
			err := o.Press("/api/v1/incidents/a%2Fb/ack")
			if got := fmt.Sprint(err); tt.want == "" && err != nil || tt.want != "" && got != tt.want {
				t.Errorf("got %v, not %q", err, tt.want)
			}
			if len(*asked) != 1 || (*asked)[0] != "POST /api/v1/incidents/a%2Fb/ack" {
				t.Errorf("asked %q", *asked)
			}
		})
	}
}

func TestPress_NoBrain(t *testing.T) {
	err := Operator{Socket: filepath.Join(t.TempDir(), "none")}.Press("/x")
	if err == nil || !strings.HasPrefix(err.Error(), "reach the brain; does it run, and are you root? ") {
		t.Errorf("got %v", err)
	}
}

func TestPress_BrainDies(t *testing.T) {
	o, _ := brain(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	if err := o.Press("/x"); err == nil || !strings.Contains(err.Error(), "reach the brain") {
		t.Errorf("got %v", err)
	}
}
