package sentinel

import (
	"fmt"

	"sentinel.home.arpa/shared/power"
)

// sentenceOfNotice says who is told what by which channel, and how that went.
func sentenceOfNotice(f Fact, because func(what, why string) string) string {
	switch f := f.(type) {
	case *NoticeRequested:
		return fmt.Sprintf("telling %s by %s: %s", f.Contact, f.Channel, f.Subject)
	case *NoticeEnded:
		if f.Delivered {
			return "" // that it was asked for says enough
		}
		return because("a notice was not sent", f.Outcome)
	case *DigestMade:
		return "the digest is made; what it tells of is counted anew"
	case *NoticesCounted:
		return because(fmt.Sprintf("%s is told later by %s of %s", f.Contact, f.Channel, list(f.Subjects)), "there were too many notices within the hour")
	case *ChannelFailing:
		return fmt.Sprintf("%s of %s fails: %s", f.Channel, f.Contact, f.Why)
	case *ChannelTried:
		return f.sentence()
	case *ChannelWorks:
		return fmt.Sprintf("%s of %s works again after %s", f.Channel, f.Contact, power.Spell(f.For))
	}
	return ""
}
