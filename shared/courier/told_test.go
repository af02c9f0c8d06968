package courier_test

import (
	"net/http"
	"net/http/httptest"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/wire"
)

// talk is a client and a receiver that answers bare, as on a tailnet.
type talk struct {
	*testing.T
	client *courier.Client
	to     courier.Receiver
	h      wire.Header // of the next request
	answer wire.Answer // but for what it is to
	told   courier.Told
	reply  http.HandlerFunc // instead; nil: ReplyTold
	named  string           // by the last request
	status int              // of the last answer
}

func newTalk(t *testing.T) *talk {
	k := newKey(t)
	l := &talk{T: t, client: courier.NewClient(nil), h: header("pve1"), answer: wire.Answer{Header: header("brain"), BrainKey: k.PublicKey(),
		Pis: []wire.Peer{{Name: "pi", Address: "192.168.77.2:7777", Key: k.PublicKey()}}}}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.named = r.Header.Get("Sentinel-Told")
		rec := httptest.NewRecorder()
		if l.reply != nil {
			l.reply(rec, r)
		} else if err := courier.ReplyTold(rec, r, l.full(), &l.told); err != nil {
			t.Error(err)
		}
		l.status = rec.Code
		for name, values := range rec.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(rec.Code)
		_, _ = w.Write(rec.Body.Bytes())
	}))
	t.Cleanup(srv.Close)
	t.Cleanup(l.client.Close)
	l.to = courier.Receiver{Name: "brain", URL: srv.URL}
	return l
}

// full is the answer to the request under way.
func (l *talk) full() *wire.Answer {
	a := l.answer
	a.To, a.ToBoot, a.ToSeq = l.h.Node, l.h.Boot, l.h.Seq
	return &a
}

func (l *talk) post() (*wire.Answer, error) {
	l.h.Seq++
	l.answer.Seq++
	return l.client.Post(l.Context(), l.to, courier.PathHeartbeat, l.h, []byte("{}"))
}

// hears posts a heartbeat; its answer must tell all, with a body or without.
func (l *talk) hears(status int) {
	l.Helper()
	a, err := l.post()
	if err != nil || l.status != status {
		l.Fatalf("answered with %d, not %d: %v", l.status, status, err)
	}
	want := l.full()
	want.Seq = a.Seq // which stays that of the answer that told it
	if !cmp.Equal(a, want) || !a.Answers(l.h) {
		l.Errorf("got %+v, want %+v", a, want)
	}
}

// TestR1_WhatWasToldIsNotToldAgain, but is there for whoever posted; what is new is told.
func TestR1_WhatWasToldIsNotToldAgain(t *testing.T) {
	l := newTalk(t)
	l.hears(http.StatusOK)
	l.hears(http.StatusNoContent)
	l.hears(http.StatusNoContent)
	l.answer.Pis = append(l.answer.Pis, wire.Peer{Name: "pi2", Address: "192.168.77.3:7777", Key: l.answer.BrainKey})
	l.hears(http.StatusOK)
	l.hears(http.StatusNoContent)
	l.told = courier.Told{} // another connection
	l.hears(http.StatusNoContent)
	l.answer.Boot = strings.Repeat("1", 32) // another brain
	l.hears(http.StatusOK)
}

// TestR1_NothingNewIsAnAcknowledgementOfOneRequest: an answer without a body is believed
// only of who was asked, and if it names the request. After trouble all is told anew.
func TestR1_NothingNewIsAnAcknowledgementOfOneRequest(t *testing.T) {
	for name, answers := range map[string]func(h wire.Header) string{
		"of a portal":         func(wire.Header) string { return "" },
		"to an older request": func(h wire.Header) string { h.Seq--; return requestOf(h) },
		"to another boot":     func(h wire.Header) string { h.Boot = strings.Repeat("1", 32); return requestOf(h) },
		"to another node":     func(h wire.Header) string { h.Node = "pve2"; return requestOf(h) },
	} {
		t.Run(name, func(t *testing.T) {
			l := newTalk(t)
			l.hears(http.StatusOK)
			l.reply = func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Sentinel-Answers", answers(l.h))
				w.WriteHeader(http.StatusNoContent)
			}
			if a, err := l.post(); err == nil || !strings.Contains(err.Error(), "another request") {
				t.Errorf("got %+v, %v", a, err)
			}
			l.reply = func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Sentinel-Answers", requestOf(l.h))
				w.WriteHeader(http.StatusNoContent)
			}
			if a, err := l.post(); err == nil || l.named != "" {
				t.Errorf("nothing was asked (%q), and it got %+v", l.named, a)
			}
			l.reply = nil
			l.hears(http.StatusOK)
			l.hears(http.StatusNoContent)
		})
	}
}

func requestOf(h wire.Header) string {
	return h.Node + " " + h.Boot + " " + strconv.FormatInt(h.Seq, 10)
}

// TestR1_OnlyHeartbeatsOfATailnetAreToldNothing: all else asks for all each time.
func TestR1_OnlyHeartbeatsOfATailnetAreToldNothing(t *testing.T) {
	for name, change := range map[string]func(l *talk) (path string){
		"another path":     func(*talk) string { return courier.PathAnnounce },
		"another receiver": func(l *talk) string { l.to.Name = "brain2"; return courier.PathHeartbeat },
		"one whose key is known, whatever stands in its headers": func(l *talk) string {
			k := newKey(l.T)
			l.to.Key = k.PublicKey()
			l.reply = func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Sentinel-Told", "0123")
				_ = courier.Reply(w, *l.full(), k)
			}
			l.hears(http.StatusOK)
			return courier.PathHeartbeat
		},
		"one that told a mandate": func(l *talk) string {
			l.answer.Mandate = &wire.Mandate{}
			l.hears(http.StatusOK)
			return courier.PathHeartbeat
		},
		"one that names what it told, and a mandate": func(l *talk) string {
			l.answer.Mandate = &wire.Mandate{}
			l.reply = func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Sentinel-Told", "0123")
				_ = courier.ReplyBare(w, l.full())
			}
			l.hears(http.StatusOK)
			return courier.PathHeartbeat
		},
		"an older one by now": func(l *talk) string {
			l.reply = func(w http.ResponseWriter, _ *http.Request) { _ = courier.ReplyBare(w, l.full()) }
			l.hears(http.StatusOK)
			return courier.PathHeartbeat
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newTalk(t)
			l.hears(http.StatusOK)
			path := change(l)
			l.named = "nobody asked"
			_, _ = l.client.Post(t.Context(), l.to, path, l.h, []byte("{}"))
			if l.named != "" {
				t.Errorf("it named %q", l.named)
			}
		})
	}
}

// TestR1_NothingNewMeansNothingAtAll: each field of an answer but its seq and its request
// is told as soon as it is another one.
func TestR1_NothingNewMeansNothingAtAll(t *testing.T) {
	reply := func(a *wire.Answer, told string) *httptest.ResponseRecorder {
		var fresh, known courier.Told
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodPost, courier.PathHeartbeat, nil)
		r.Header.Set("Sentinel-Told", told)
		if err := courier.ReplyTold(httptest.NewRecorder(), r, &wire.Answer{Header: header("brain")}, &known); err != nil {
			t.Error(err)
		}
		if err := courier.ReplyTold(w, r, a, &known); err != nil {
			t.Error(err)
		}
		again := httptest.NewRecorder()
		if err := courier.ReplyTold(again, r, a, &fresh); err != nil || again.Code != w.Code || !cmp.Equal(again.Header(), w.Header()) {
			t.Errorf("a new connection says %d %v, this one %d %v: %v", again.Code, again.Header(), w.Code, w.Header(), err)
		}
		return w
	}
	told := reply(&wire.Answer{Header: header("brain")}, "").Header().Get("Sentinel-Told")
	changes := map[string]any{"V": 2, "Site": "office", "Node": "other", "Boot": "1", "Seq": int64(1), "To": "x", "ToBoot": "x", "ToSeq": int64(1),
		"BrainKey": wire.PublicKey("x"), "Pis": []wire.Peer{{}}, "Mandate": &wire.Mandate{}, "Bundle": &wire.Bundle{}, "Calls": &wire.Calls{}, "Taken": []int{0}, "Leaving": true, "Order": []byte("x")}
	same := map[string]bool{"Seq": true, "To": true, "ToBoot": true, "ToSeq": true, "Order": true} // which goes beside it
	for _, f := range reflect.VisibleFields(reflect.TypeFor[wire.Answer]()) {
		if f.Anonymous {
			continue
		}
		value, ok := changes[f.Name]
		if !ok {
			t.Fatalf("%s is new: say here what another one is, and see to it that it is told", f.Name)
		}
		a := wire.Answer{Header: header("brain")}
		reflect.ValueOf(&a).Elem().FieldByIndex(f.Index).Set(reflect.ValueOf(value))
		if w := reply(&a, told); (w.Code == http.StatusNoContent) != same[f.Name] {
			t.Errorf("another %s is answered with %d", f.Name, w.Code)
		} else if f.Name == "Order" && w.Header().Get("Sentinel-Order") != "x" {
			t.Error("an order is lost")
		}
	}
}
