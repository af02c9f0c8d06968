package tap

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

// heard is what tcpdump -l -tt -n -A prints of two connections: on one a heartbeat and an
// announcement, on the other a heartbeat whose answer comes in between.
const heard = `1700000000.000001 IP 10.77.0.12.4000 > 10.77.0.2.7777: Flags [P.], seq 1:500, ack 1, win 502, length 499
E.....@.@.......POST /v1/heartbeat HTTP/1.1
Host: 10.77.0.2:7777

{"payload":"e30="}
1700000000.100000 IP 10.77.0.2.7777 > 10.77.0.12.4000: Flags [P.], seq 1:200, ack 500, win 502, length 199
E.....@.@......HTTP/1.1 200 OK
1700000001.250000 IP 10.77.0.12.4000 > 10.77.0.2.7777: Flags [P.], seq 500:900, ack 200, win 502, length 400
E.....@.@.......POST /v1/announce HTTP/1.1
1700000001.251000 IP 10.77.0.2.7777 > 10.77.0.13.4001: Flags [P.], seq 1:200, ack 500, win 502, length 199
E.....@.@......HTTP/1.1 403 Forbidden
1700000001.253000 IP 10.77.0.2.7777 > 10.77.0.12.4000: Flags [P.], seq 200:400, ack 900, win 502, length 200
E.....@.@......HTTP/1.1 200 OK
`

func listened(text string) *Tap {
	t := &Tap{changed: make(chan struct{})}
	newReader(t).read(strings.NewReader(text))
	return t
}

func TestAnAnnouncementAndItsAnswer(t *testing.T) {
	tap := listened(heard)
	got, _ := tap.Since(time.Unix(1700000000, 0), netip.MustParseAddr("10.77.0.12"))
	if len(got) != 1 {
		t.Fatalf("heard %+v", got)
	}
	a := got[0]
	if a.Status != 200 || a.Answered.Sub(a.At) != 3*time.Millisecond || a.To.String() != "10.77.0.2:7777" || !a.At.Equal(time.Unix(1700000001, 250e6)) {
		t.Errorf("heard %+v", a)
	}
	if got, _ := tap.Since(time.Unix(1700000002, 0), a.From.Addr()); len(got) != 0 {
		t.Errorf("of later: %+v", got)
	}
	if got, _ := tap.Since(time.Unix(0, 0), netip.MustParseAddr("10.77.0.13")); len(got) != 0 {
		t.Errorf("of another: %+v", got)
	}
}

func TestAnUnansweredAnnouncement(t *testing.T) {
	text, _, _ := strings.Cut(heard, "1700000001.253000")
	got, _ := listened(text).Since(time.Time{}, netip.MustParseAddr("10.77.0.12"))
	if len(got) != 1 || got[0].Status != 0 || !got[0].Answered.IsZero() {
		t.Errorf("heard %+v", got)
	}
}

func TestLossOf(t *testing.T) {
	for line, want := range map[string]string{
		"[2026-01-02T03:04:05.123456] Deleted 7: vb-node1@if2: <BROADCAST,MULTICAST> mtu 1500 qdisc noop state DOWN group default":   "vb-node1",
		"[2026-01-02T03:04:05.123456] 7: vb-node1@if2: <NO-CARRIER,BROADCAST,MULTICAST,UP> mtu 1500 qdisc noqueue master lan ":       "vb-node1",
		"[2026-01-02T03:04:05.123456] 7: vb-node1@if2: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue master lan state UP": "",
		"[2026-01-02T03:04:05.123456] Deleted":                         "",
		"7: vb-node1@if2: <NO-CARRIER> and no time to it, as it seems": "",
		"": "",
	} {
		l, ok := lossOf(line)
		if ok != (want != "") || l.Port != want || ok && l.At.Nanosecond() != 123456000 {
			t.Errorf("%q: %+v %v", line, l, ok)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(heard)
	f.Add("POST /v1/announce \nHTTP/1.1 100 \n")
	f.Add("1.000000 IP 999.1.1.1.99999 > 1.1.1.1.1: \nPOST /v1/announce \n1.000000 IP 1.1.1.1.1 > 999.1.1.1.99999: \nHTTP/1.1 200 \n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, a := range listened(text).announcements {
			if a.Status != 0 && a.Answered.IsZero() {
				t.Errorf("%+v", a)
			}
		}
		lossOf(text)
	})
}
