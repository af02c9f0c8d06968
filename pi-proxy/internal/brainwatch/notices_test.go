package brainwatch_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sentinel.home.arpa/pi-proxy/internal/brainwatch"
)

// withChannels is a Pi that has channels; what they get is in notices.
func withChannels(t *testing.T) (p *pi, notices func() []string) {
	p = newPi(t)
	p.orders.Contacts = nil
	p.orders.Channels = []brainwatch.Channel{
		{Contact: "Alex", Name: "ntfy", Gone: true, Back: true},
		{Contact: "Alex", Name: "sms", Gone: true},
		{Contact: "Sam", Name: "email", Back: true},
	}
	p.w.Order(p.orders)
	return p, func() (got []string) {
		for _, n := range p.w.State().Notices {
			turn := "gone"
			if n.Back {
				turn = fmt.Sprintf("back after %s", n.For)
			}
			got = append(got, fmt.Sprintf("+%ds %s of %s: %s", int(n.At.Sub(start).Seconds()), n.Channel, n.Contact, turn))
		}
		return got
	}
}

func wants(t *testing.T, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// TestG3_ChannelsAreToldAfter2Minutes, and of the end; each hears the turns that it wants.
func TestG3_ChannelsAreToldAfter2Minutes(t *testing.T) {
	p, notices := withChannels(t)
	p.live(time.Minute)
	p.answer = false
	p.live(3 * time.Minute)
	wants(t, notices(), "+180s ntfy of Alex: gone", "+180s sms of Alex: gone")
	p.restart()
	p.live(10 * time.Minute)
	wants(t, notices(), "+180s ntfy of Alex: gone", "+180s sms of Alex: gone")
	for _, n := range p.w.State().Notices {
		p.take(p.w.NoticeEnded(p.now, n.ID, true, "delivered"))
		p.take(p.w.NoticeEnded(p.now, n.ID, true, "an echo"))
	}
	p.answer = true
	p.live(time.Second)
	wants(t, notices(), "+841s ntfy of Alex: back after 13m1s", "+841s email of Sam: back after 13m1s")
	p.mustTell("+180s gone", "+180s telling", "+840s notice_ended", "+840s notice_ended", "+841s back", "+841s telling")
}

// TestG3_NoticesOnceIn6Hours: of absences in between nobody is told, nor of their end.
func TestG3_NoticesOnceIn6Hours(t *testing.T) {
	p, _ := withChannels(t)
	for range 3 {
		p.answer = false
		p.live(3 * time.Minute)
		p.answer = true
		p.live(time.Minute)
	}
	p.mustTell("+120s gone", "+120s telling", "+181s back", "+181s telling", "+360s gone", "+421s back", "+600s gone", "+661s back")
	p.told, p.answer = nil, false
	p.live(12 * time.Hour)
	p.mustTell("+840s gone", fmt.Sprintf("+%ds telling", 120+6*3600), fmt.Sprintf("+%ds telling", 120+12*3600))
}

// TestG3_APiBeforeThisOneTells, if it is heard in the house.
func TestG3_APiBeforeThisOneTells(t *testing.T) {
	p, notices := withChannels(t)
	p.orders.Place, p.orders.Before = 1, true
	p.w.Order(p.orders)
	p.answer = false
	p.live(4 * time.Minute)
	wants(t, notices())
	p.orders.Before = false
	p.w.Order(p.orders)
	p.live(time.Second)
	wants(t, notices(), "+241s ntfy of Alex: gone", "+241s sms of Alex: gone")
}

// TestG3_WhoHasNoChannelIsToldOnceThereIsOne.
func TestG3_WhoHasNoChannelIsToldOnceThereIsOne(t *testing.T) {
	p, notices := withChannels(t)
	channels := p.orders.Channels
	p.orders.Channels = nil
	p.w.Order(p.orders)
	p.answer = false
	p.live(4 * time.Minute)
	p.orders.Channels = channels[:1]
	p.w.Order(p.orders)
	p.live(time.Second)
	wants(t, notices(), "+241s ntfy of Alex: gone")
}

// TestR7_ANoticeOfALaterTime is of a clock that was put back: it counts as of now.
func TestR7_ANoticeOfALaterTime(t *testing.T) {
	p, _ := withChannels(t)
	p.answer = false
	p.live(3 * time.Minute)
	p.now = start.Add(-time.Hour)
	p.restart()
	if s := p.w.State(); !s.Told.Equal(p.now) || !s.Notices[0].At.Equal(p.now) {
		t.Errorf("%+v", s)
	}
}
