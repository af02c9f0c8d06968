package cli

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
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

// TestR8_Approve asks for the machine, and for the key and site if they are named.
func TestR8_Approve(t *testing.T) {
	var query []string
	o, asked := brain(t, func(w http.ResponseWriter, r *http.Request) {
		query = append(query, r.URL.Query().Get("key")+" "+r.URL.Query().Get("site"))
		w.WriteHeader(http.StatusNoContent)
	})
	for _, err := range []error{o.Approve(io.Discard, "pve2", "", ""), o.Approve(io.Discard, "a/b", "ed25519:a+b/c=", "home")} {
		if err != nil {
			t.Error(err)
		}
	}
	if want := []string{"POST /api/v1/nodes/pve2/approve", "POST /api/v1/nodes/a%2Fb/approve"}; !slices.Equal(*asked, want) {
		t.Errorf("asked %q", *asked)
	}
	if want := []string{" ", "ed25519:a+b/c= home"}; !slices.Equal(query, want) {
		t.Errorf("asked for %q", query)
	}
	o, _ = brain(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusConflict)
		fmt.Fprint(w, `{"error":"several keys wait as pve2","hint":"say which: --key a or --key b"}`)
	})
	if err := o.Approve(io.Discard, "pve2", "", ""); err == nil || err.Error() != "several keys wait as pve2; say which: --key a or --key b" {
		t.Errorf("got %v", err)
	}
}

// TestR8_Waiting lists those that wait, with the command that lets each in.
func TestR8_Waiting(t *testing.T) {
	for _, tt := range []struct{ name, status, want string }{
		{"nobody", `{"waiting":null,"sites":[]}`, "Nobody waits to be approved.\n"},
		{"two", `{"waiting":[
			{"name":"pi","role":"pi","key":"ed25519:P","from":"pi on the tailnet","why":"it has no tag","hold":"a Pi needs tag","first_seen":"2026-11-21T19:00:00Z","last_seen":"2026-11-21T19:02:00Z"},
			{"name":"pve9","role":"node","key":"ed25519:N","from":"the LAN of pi","why":"nobody has said so","command":"sudo sentinel-cloud approve pve9 --key ed25519:N","first_seen":"2026-11-21T19:00:00+01:00","last_seen":"2026-11-21T19:02:00+01:00"}]}`,
			"pi from pi on the tailnet, because it has no tag; since 2026-11-21 19:00:00, last at 2026-11-21 19:02:00\n    ed25519:P: a Pi needs tag\n" +
				"pve9 from the LAN of pi, because nobody has said so; since 2026-11-21 19:00:00, last at 2026-11-21 19:02:00\n    sudo sentinel-cloud approve pve9 --key ed25519:N\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o, asked := brain(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, tt.status) })
			var out strings.Builder
			if err := o.Waiting(&out); err != nil || out.String() != tt.want {
				t.Errorf("%v, and it says\n%s", err, out.String())
			}
			if want := []string{"GET /api/v1/status"}; !slices.Equal(*asked, want) {
				t.Errorf("asked %q", *asked)
			}
		})
	}
	o, _ := brain(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"waiting":[`) })
	if err := o.Waiting(io.Discard); err == nil || !strings.HasPrefix(err.Error(), "read the brain's answer: ") {
		t.Errorf("got %v", err)
	}
}

func TestPress_NoBrain(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "none")
	err := Operator{Socket: socket}.Press("/x")
	if err == nil || err.Error() != "the brain cannot be reached; does it run, and are you root? dial unix "+socket+": connect: no such file or directory" {
		t.Errorf("got %v", err)
	}
}

func TestPress_BrainDies(t *testing.T) {
	o, _ := brain(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	if err := o.Press("/x"); err == nil || !strings.Contains(err.Error(), "the brain cannot be reached") {
		t.Errorf("got %v", err)
	}
}
