package announce

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"sentinel.home.arpa/node-hook/internal/rig"
	"sentinel.home.arpa/node-hook/internal/self"
	"sentinel.home.arpa/shared/courier"
	"sentinel.home.arpa/shared/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sender makes a Sender in a network, to receivers at the given addresses.
func sender(t *testing.T, n *rig.Network, routes ...courier.Receiver) *Sender {
	t.Helper()
	key, err := wire.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	client := courier.NewClient(n.Dial)
	t.Cleanup(client.Close)
	return &Sender{
		Seal:   self.New("pve1", "", rig.Boot, key, func() time.Duration { return time.Second }).Announcement,
		Routes: func() []courier.Receiver { return routes },
		Poster: client,
	}
}

func timed(t *testing.T, s *Sender) (by []string, took time.Duration, err error) {
	t.Helper()
	start := time.Now()
	by, err = s.Send(t.Context(), NewID(), wire.Poweroff)
	return by, time.Since(start), err
}

// TestA2_BothRoutesAtOnce: brain and Pi get the same announcement, and both acknowledge.
func TestA2_BothRoutesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := rig.NewNetwork()
		brain, pi := rig.Start(t, "brain", n.Listen("b:80")), rig.Start(t, "pi", n.Listen("p:7777"))
		by, took, err := timed(t, sender(t, n, brain.To(), pi.To()))
		slices.Sort(by)
		if err != nil || !slices.Equal(by, []string{"brain", "pi"}) || took > 0 {
			t.Errorf("%v, %v after %v", by, err, took)
		}
		a, b := brain.Arrivals(courier.PathAnnounce), pi.Arrivals(courier.PathAnnounce)
		if len(a) != 1 || len(b) != 1 || a[0].Envelope != b[0].Envelope || a[0].Kind != wire.Poweroff || len(a[0].ID) != 32 {
			t.Errorf("brain got %+v, pi got %+v", a, b)
		}
	})
}

// TestA2_FirstAcknowledgementEndsIt: with the brain dead in each possible way the Pi's
// acknowledgement suffices, after a grace of 200 ms for the other route.
func TestA2_FirstAcknowledgementEndsIt(t *testing.T) {
	for name, mood := range map[string]rig.Mood{
		"hangs": rig.Hang,
		"fails": func(w http.ResponseWriter, _ *http.Request, _ *wire.Answer) bool {
			w.WriteHeader(http.StatusBadGateway)
			return true
		},
		"refuses": func(w http.ResponseWriter, _ *http.Request, _ *wire.Answer) bool {
			courier.Fail(w, &courier.Fault{Status: 403, Err: errors.New("unknown")})
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := rig.NewNetwork()
				brain, pi := rig.Start(t, "brain", n.Listen("b:80")), rig.Start(t, "pi", n.Listen("p:7777"))
				brain.SetMood(mood)
				by, took, err := timed(t, sender(t, n, brain.To(), pi.To()))
				if err != nil || !slices.Equal(by, []string{"pi"}) || took > grace {
					t.Errorf("%v, %v after %v", by, err, took)
				}
			})
		})
	}
}

// TestA2_SlowRouteIsTriedAgain: a receiver that swallows the first try gets a second one.
func TestA2_SlowRouteIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := rig.NewNetwork()
		pi := rig.Start(t, "pi", n.Listen("p:7777"))
		tries := 0
		pi.SetMood(func(w http.ResponseWriter, r *http.Request, a *wire.Answer) bool {
			tries++
			return tries == 1 && rig.Hang(w, r, a)
		})
		by, took, err := timed(t, sender(t, n, pi.To()))
		if err != nil || len(by) != 1 || took != tryTimeout+tryGap {
			t.Errorf("%v, %v after %v", by, err, took)
		}
		if got := pi.Arrivals(courier.PathAnnounce); len(got) != 2 || got[0].ID != got[1].ID {
			t.Errorf("arrived: %+v", got)
		}
	})
}

// TestA2_APortalInBetweenEndsNoRoute: it is asked until the receiver itself answers.
func TestA2_APortalInBetweenEndsNoRoute(t *testing.T) {
	for _, status := range []int{http.StatusFound, http.StatusNoContent} {
		synctest.Test(t, func(t *testing.T) {
			n := rig.NewNetwork()
			pi := rig.Start(t, "pi", n.Listen("p:7777"))
			tries := 0
			pi.SetMood(func(w http.ResponseWriter, _ *http.Request, _ *wire.Answer) bool {
				if tries++; tries < 3 {
					w.Header().Set("Location", "http://portal.example/")
					w.WriteHeader(status)
				}
				return tries < 3
			})
			by, took, err := timed(t, sender(t, n, pi.To()))
			if err != nil || !slices.Equal(by, []string{"pi"}) || took != 2*tryGap {
				t.Errorf("%d: %v, %v after %v", status, by, err, took)
			}
		})
	}
}

// TestA2_NobodyAnswers: the shutdown goes on after 4.5 s.
func TestA2_NobodyAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := rig.NewNetwork()
		hung := rig.Start(t, "brain", n.Listen("b:80"))
		hung.SetMood(rig.Hang)
		dead := courier.Receiver{Name: "pi", URL: "http://p:7777", Key: hung.Key.PublicKey()}
		_, took, err := timed(t, sender(t, n, hung.To(), dead))
		if err == nil || took != whole {
			t.Errorf("%v after %v", err, took)
		}
		for _, want := range []string{"announce poweroff:", "post to brain", "post to pi", "connection refused"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("no %q in: %v", want, err)
			}
		}
		if got := len(hung.Arrivals(courier.PathAnnounce)); got != 2 {
			t.Errorf("%d tries", got)
		}
	})
}

func TestNothingToWaitFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := rig.NewNetwork()
		if _, took, err := timed(t, sender(t, n)); !errors.Is(err, ErrNoRoute) || took > 0 {
			t.Errorf("%v after %v", err, took)
		}
		pi := rig.Start(t, "pi", n.Listen("p:7777"))
		pi.SetMood(func(w http.ResponseWriter, _ *http.Request, _ *wire.Answer) bool {
			courier.Fail(w, &courier.Fault{Status: 403, Err: errors.New("unknown node")})
			return true
		})
		_, took, err := timed(t, sender(t, n, pi.To()))
		var no *courier.Refusal
		if !errors.As(err, &no) || took > 0 {
			t.Errorf("%v after %v", err, took)
		}
	})
}

// TestA2_OnlyTrueAnswersAcknowledge: an answer by another key, to another request, of an
// earlier time, or of another kind is none.
func TestA2_OnlyTrueAnswersAcknowledge(t *testing.T) {
	other, err := wire.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	for name, forge := range map[string]func(a wire.Answer, own wire.Key) (wire.Kind, any, wire.Key){
		"another key": func(a wire.Answer, _ wire.Key) (wire.Kind, any, wire.Key) { return wire.KindAnswer, a, other },
		"another asker": func(a wire.Answer, k wire.Key) (wire.Kind, any, wire.Key) {
			a.To = "pve2"
			return wire.KindAnswer, a, k
		},
		"an earlier time": func(a wire.Answer, k wire.Key) (wire.Kind, any, wire.Key) { a.ToSeq--; return wire.KindAnswer, a, k },
		"another boot": func(a wire.Answer, k wire.Key) (wire.Kind, any, wire.Key) {
			a.ToBoot = strings.Replace(rig.Boot, "9", "8", 1)
			return wire.KindAnswer, a, k
		},
		"another kind": func(a wire.Answer, k wire.Key) (wire.Kind, any, wire.Key) { return wire.KindHeartbeat, a, k },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := rig.NewNetwork()
				pi := rig.Start(t, "pi", n.Listen("p:7777"))
				pi.SetMood(func(w http.ResponseWriter, _ *http.Request, a *wire.Answer) bool {
					data, err := wire.Seal(forge(*a, pi.Key))
					if err != nil {
						t.Error(err)
					}
					w.Write(data)
					return true
				})
				if by, took, err := timed(t, sender(t, n, pi.To())); err == nil || took != whole {
					t.Errorf("acknowledged by %v after %v", by, took)
				}
			})
		})
	}
}

// script is a Voice whose sends fail or not as told.
func script(fail *bool) (*Voice, *[]string, map[string]int) {
	var kinds []string
	ids := map[string]int{}
	return NewVoice(func(_ context.Context, id string, kind wire.ShutdownKind) ([]string, error) {
		kinds = append(kinds, string(kind))
		ids[id]++
		time.Sleep(time.Second)
		if *fail {
			return nil, errors.New("nobody")
		}
		return []string{"pi"}, nil
	}, slog.New(slog.DiscardHandler)), &kinds, ids
}

func TestVoiceSaysEachShutdownOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fail := false
		v, kinds, ids := script(&fail)
		say := func(kind wire.ShutdownKind) { v.Say(t.Context(), kind) }
		say(wire.Cancelled) // nothing to take back
		say(wire.Poweroff)
		say(wire.Poweroff) // JobNew, SIGTERM
		say(wire.Cancelled)
		say(wire.Cancelled)
		say(wire.Poweroff) // anew, hence with a new id
		say(wire.Reboot)   // changed its mind
		if diff := cmp.Diff([]string{"poweroff", "cancelled", "poweroff", "reboot"}, *kinds); diff != "" {
			t.Error(diff)
		}
		if len(ids) != 4 {
			t.Errorf("ids %v", ids)
		}
	})
}

// TestVoiceTriesAgainLater: unacknowledged, it neither holds the same shutdown up twice
// nor gives up on a host that takes minutes. The id stays.
func TestVoiceTriesAgainLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fail := true
		v, kinds, ids := script(&fail)
		done := make(chan struct{})
		go func() { defer close(done); v.Say(t.Context(), wire.Poweroff) }()
		synctest.Wait()
		start := time.Now()
		v.Say(t.Context(), wire.Poweroff) // waits for the first, then is done
		<-done
		if took := time.Since(start); took != time.Second || len(*kinds) != 1 {
			t.Errorf("took %v for %v", took, *kinds)
		}
		time.Sleep(retryAfter)
		fail = false
		v.Say(t.Context(), wire.Poweroff)
		time.Sleep(retryAfter)
		v.Say(t.Context(), wire.Poweroff) // acknowledged by now
		if len(*kinds) != 2 || len(ids) != 1 {
			t.Errorf("sent %v with ids %v", *kinds, ids)
		}
	})
}
