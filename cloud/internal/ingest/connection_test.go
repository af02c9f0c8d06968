package ingest

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/wire"
)

// over posts over one connection, as a server with PerConnection has it.
func (o *onTailnet) over(conn context.Context, path string, envelope []byte) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	o.mux.ServeHTTP(w, httptest.NewRequestWithContext(conn, http.MethodPost, path, bytes.NewReader(envelope)))
	return w
}

func (o *onTailnet) connection() context.Context {
	var s http.Server
	PerConnection(&s)
	return s.ConnContext(o.Context(), nil)
}

// forge is a heartbeat with a signature that is not the sender's, under its key.
func (o *onTailnet) forge(node string) []byte {
	return o.edit(o.heartbeat(node), func(e map[string]any) { signature(e)["sig"] = signature(o.decoded(o.heartbeat("nas")))["sig"] })
}

func (o *onTailnet) decoded(envelope []byte) (e map[string]any) {
	o.edit(envelope, func(m map[string]any) { e = m })
	return e
}

// proved is a tailnet with pve1 and its Pi known, and a connection that pve1 has just
// sent a verified heartbeat over.
func proved(t *testing.T) (*onTailnet, context.Context, *int) {
	o := newTailnet(t)
	asked := new(int)
	for name, role := range map[string]sentinel.Role{"pve1": sentinel.Node, "pve2": sentinel.Node, "pi": sentinel.Pi} {
		o.ids.Learn(Known{Name: name, Site: "home", Role: role, Key: o.keys[name].PublicKey(), StableID: "n-" + name})
	}
	o.who = tagged("pve1", "n-pve1", TagNode)
	o.ids.WhoIs = func(context.Context, string) (Machine, error) { *asked++; return o.who, o.whose }
	conn := o.connection()
	if w := o.over(conn, courier.PathHeartbeat, o.heartbeat("pve1")); w.Code != http.StatusOK {
		t.Fatalf("answered %d %s", w.Code, w.Body)
	}
	return o, conn, asked
}

// TestR1_HeartbeatsStandOnAProvenConnection for ten seconds, and so does the tailnet's word.
func TestR1_HeartbeatsStandOnAProvenConnection(t *testing.T) {
	o, conn, asked := proved(t)
	o.pass(9900 * time.Millisecond)
	if w := o.over(conn, courier.PathHeartbeat, o.forge("pve1")); w.Code != http.StatusOK {
		t.Errorf("within the ten seconds the signature counts: %d %s", w.Code, w.Body)
	}
	if *asked != 1 {
		t.Errorf("the tailnet was asked %d times", *asked)
	}
	o.pass(200 * time.Millisecond)
	o.refusedWith(o.over(conn, courier.PathHeartbeat, o.forge("pve1")), http.StatusForbidden)
	if c := o.counted(); c["forged"] != 1 {
		t.Errorf("counted %v", c)
	}
	if *asked != 2 {
		t.Errorf("the tailnet was asked %d times", *asked)
	}
	if w := o.over(conn, courier.PathHeartbeat, o.heartbeat("pve1")); w.Code != http.StatusOK {
		t.Errorf("the true one was answered with %d %s", w.Code, w.Body)
	}
}

// TestR1_AProvenConnectionSpeaksForNobodyElse: what it spares is the signature of a node's
// own heartbeats, by the same key and machine, over it alone.
func TestR1_AProvenConnectionSpeaksForNobodyElse(t *testing.T) {
	bundle := wire.Heartbeat{Pi: &wire.PiStatus{Bundle: "0123"}}
	for name, forged := range map[string]func(o *onTailnet, conn context.Context) *httptest.ResponseRecorder{
		"another name": func(o *onTailnet, conn context.Context) *httptest.ResponseRecorder {
			return o.over(conn, courier.PathHeartbeat, o.forge("pve2"))
		},
		"another name with the same key": func(o *onTailnet, conn context.Context) *httptest.ResponseRecorder {
			return o.over(conn, courier.PathHeartbeat, o.seal(wire.KindHeartbeat, wire.Heartbeat{Header: o.header("pve2")}, "pve1"))
		},
		"another key": func(o *onTailnet, conn context.Context) *httptest.ResponseRecorder {
			return o.over(conn, courier.PathHeartbeat, o.seal(wire.KindHeartbeat, wire.Heartbeat{Header: o.header("pve1")}, "pve2"))
		},
		"an announcement": func(o *onTailnet, conn context.Context) *httptest.ResponseRecorder {
			return o.over(conn, courier.PathAnnounce, o.edit(o.announcement("pve1", wire.Poweroff), func(e map[string]any) {
				signature(e)["sig"] = signature(o.decoded(o.heartbeat("pve1")))["sig"]
			}))
		},
		"another connection": func(o *onTailnet, _ context.Context) *httptest.ResponseRecorder {
			return o.over(o.connection(), courier.PathHeartbeat, o.forge("pve1"))
		},
		"a server that remembers no connections": func(o *onTailnet, _ context.Context) *httptest.ResponseRecorder {
			return o.over(o.Context(), courier.PathHeartbeat, o.forge("pve1"))
		},
		"the connection of a machine that has the address now": func(o *onTailnet, conn context.Context) *httptest.ResponseRecorder {
			o.who = tagged("nas", "n-nas", TagNode)
			o.pass(10 * time.Second)
			return o.over(conn, courier.PathHeartbeat, o.heartbeat("pve1"))
		},
		"a name that was bound to another key since": func(o *onTailnet, conn context.Context) *httptest.ResponseRecorder {
			o.ids.Learn(Known{Name: "pve1", Site: "home", Role: sentinel.Node, Key: o.keys["nas"].PublicKey(), StableID: "n-pve1"})
			return o.over(conn, courier.PathHeartbeat, o.edit(o.heartbeat("pve1"), func(e map[string]any) { signature(e)["keyid"] = o.keys["nas"].PublicKey() }))
		},
		"another name of the same machine": func(o *onTailnet, conn context.Context) *httptest.ResponseRecorder {
			o.ids.Learn(Known{Name: "pve2", Site: "home", Role: sentinel.Node, Key: o.keys["pve2"].PublicKey(), StableID: "n-pve1"})
			return o.over(conn, courier.PathHeartbeat, o.forge("pve2"))
		},
		"a Pi, which speaks for others": func(o *onTailnet, _ context.Context) *httptest.ResponseRecorder {
			o.who = tagged("pi", "n-pi", TagPi)
			conn := o.connection()
			bundle.Header = o.header("pi")
			if w := o.over(conn, courier.PathHeartbeat, o.seal(wire.KindHeartbeat, bundle, "pi")); w.Code != http.StatusOK {
				o.Errorf("the Pi was answered with %d %s", w.Code, w.Body)
			}
			return o.over(conn, courier.PathHeartbeat, o.forge("pi"))
		},
		"without a tailnet": func(o *onTailnet, conn context.Context) *httptest.ResponseRecorder {
			o.ids.WhoIs = nil
			if w := o.over(conn, courier.PathHeartbeat, o.heartbeat("pve1")); w.Code != http.StatusOK {
				o.Errorf("answered %d %s", w.Code, w.Body)
			}
			return o.over(conn, courier.PathHeartbeat, o.forge("pve1"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			o, conn, _ := proved(t)
			o.refusedWith(forged(o, conn), http.StatusForbidden)
		})
	}
}

// TestR1_BareAnswers go to who asks for one on the tailnet, which vouches for the brain.
// Everybody else gets theirs signed.
func TestR1_BareAnswers(t *testing.T) {
	for _, tt := range []struct{ tailnet, asks, bare bool }{{true, true, true}, {true, false, false}, {false, true, false}} {
		o, conn, _ := proved(t)
		if !tt.tailnet {
			o.ids.WhoIs = nil
		}
		r := httptest.NewRequestWithContext(conn, http.MethodPost, courier.PathHeartbeat, bytes.NewReader(o.heartbeat("pve1")))
		if tt.asks {
			r.Header.Set("Accept", string(wire.KindAnswer))
		}
		w := httptest.NewRecorder()
		o.mux.ServeHTTP(w, r)
		var a wire.Answer
		if bare := wire.DecodeAnswer(w.Body.Bytes(), &a) == nil; bare != tt.bare || w.Code != http.StatusOK {
			t.Errorf("%+v: answered %d %s", tt, w.Code, w.Body)
		}
		if _, err := wire.Read(w.Body.Bytes()); (err == nil) == tt.bare {
			t.Errorf("%+v: an envelope: %v", tt, err)
		}
	}
}

// asks posts over a connection as courier.Client does there, naming what was told last.
func (o *onTailnet) asks(conn context.Context, path, told string, envelope []byte) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(conn, http.MethodPost, path, bytes.NewReader(envelope))
	r.Header.Set("Accept", string(wire.KindAnswer))
	r.Header.Set("Sentinel-Told", told)
	w := httptest.NewRecorder()
	o.mux.ServeHTTP(w, r)
	return w
}

// TestR1_NothingNewIsNotToldAgain to a node whose heartbeat names what it was told. The
// beat counts as any other, and its answer names it.
func TestR1_NothingNewIsNotToldAgain(t *testing.T) {
	o, conn, _ := proved(t)
	told := o.asks(conn, courier.PathHeartbeat, "", o.heartbeat("pve1")).Header().Get("Sentinel-Told")
	if told == "" {
		t.Fatal("the answer has no name")
	}
	o.pass(19 * time.Second)
	beat := o.heartbeat("pve1")
	w := o.asks(conn, courier.PathHeartbeat, told, beat)
	e, err := wire.Read(beat)
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("pve1 %s %d", boot1, e.Header.Seq); w.Code != http.StatusNoContent || w.Body.Len() > 0 || w.Header().Get("Sentinel-Answers") != want {
		t.Errorf("answered %d %q %v, want one to %s", w.Code, w.Body, w.Header(), want)
	}
	o.pass(19 * time.Second)
	if silent := o.table.Expire(o.time()); len(silent) > 0 {
		t.Errorf("silent: %+v", silent)
	}
	o.h.Tell = func(_ Known, _ string, a *wire.Answer) { a.Pis = []wire.Peer{{Name: "pi"}} }
	if w := o.asks(conn, courier.PathHeartbeat, told, o.heartbeat("pve1")); w.Code != http.StatusOK || w.Header().Get("Sentinel-Told") == told {
		t.Errorf("what is new is answered with %d %v", w.Code, w.Header())
	}
}

// TestR1_AllIsToldToWhoeverMustHearIt: nothing but a node's own heartbeat over a connection
// of the tailnet, bare, is told that nothing is new, whatever it names.
func TestR1_AllIsToldToWhoeverMustHearIt(t *testing.T) {
	for name, post := range map[string]func(o *onTailnet, conn context.Context, told string) *httptest.ResponseRecorder{
		"an announcement": func(o *onTailnet, conn context.Context, told string) *httptest.ResponseRecorder {
			return o.asks(conn, courier.PathAnnounce, told, o.announcement("pve1", wire.Poweroff))
		},
		"a Pi": func(o *onTailnet, _ context.Context, told string) *httptest.ResponseRecorder {
			o.who = tagged("pi", "n-pi", TagPi)
			return o.asks(o.connection(), courier.PathHeartbeat, told, o.heartbeat("pi"))
		},
		"a Pi's report": func(o *onTailnet, _ context.Context, told string) *httptest.ResponseRecorder {
			o.who = tagged("pi", "n-pi", TagPi)
			return o.asks(o.connection(), courier.PathUPS, told, o.report("pi", onMains()))
		},
		"without a connection": func(o *onTailnet, _ context.Context, told string) *httptest.ResponseRecorder {
			return o.asks(o.Context(), courier.PathHeartbeat, told, o.heartbeat("pve1"))
		},
		"without a tailnet": func(o *onTailnet, conn context.Context, told string) *httptest.ResponseRecorder {
			o.ids.WhoIs = nil
			return o.asks(conn, courier.PathHeartbeat, told, o.heartbeat("pve1"))
		},
		"who wants it signed": func(o *onTailnet, conn context.Context, _ string) *httptest.ResponseRecorder {
			return o.over(conn, courier.PathHeartbeat, o.heartbeat("pve1"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			o, conn, _ := proved(t)
			told := o.asks(conn, courier.PathHeartbeat, "", o.heartbeat("pve1")).Header().Get("Sentinel-Told")
			w := post(o, conn, told)
			if w.Code != http.StatusOK || w.Body.Len() == 0 || w.Header().Get("Sentinel-Told") != "" || w.Header().Get("Sentinel-Answers") != "" {
				t.Errorf("answered %d %v %q", w.Code, w.Header(), w.Body)
			}
		})
	}
	o, conn, _ := proved(t)
	told := o.asks(conn, courier.PathHeartbeat, "", o.heartbeat("pve1")).Header().Get("Sentinel-Told")
	o.pass(trustedFor)
	o.refusedWith(o.asks(conn, courier.PathHeartbeat, told, o.forge("pve1")), http.StatusForbidden)
}
