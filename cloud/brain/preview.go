package brain

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"time"

	"sentinel.home.arpa/cloud/internal/notify"
	"sentinel.home.arpa/shared/speech"
)

// Preview is which calls to hear before they are made.
type Preview struct {
	Kind     string // as a person writes it: power, internet, node, unwatched, tailnet; empty: all
	Language string // a code; empty: that of the contact
	Contact  string // empty: the first
	Variant  int    // the number of one of the kind; 0: all
	Speak    string // a file for the sound of the first of them; empty: none
}

// ErrNoSuch is a preview of something that there is not.
var ErrNoSuch = errors.New("there is no such call")

// speakWithin is more than espeak-ng takes for any text.
const speakWithin = 30 * time.Second

// previewKinds are the kinds by the names that people use.
func previewKinds() map[string]string {
	return map[string]string{"node": "node_failure", "power": "power_outage", "internet": "internet_outage", "unwatched": "power_unwatched", "tailnet": "tailnet_down"}
}

// PreviewCalls writes what calls say, by the texts of a configuration file; no brain need run.
func PreviewCalls(ctx context.Context, w io.Writer, config string, p Preview) error {
	cfg, err := LoadConfig(config)
	if err != nil {
		return err
	}
	contact, site := "Alex", cfg.Sites[0].Name
	if len(cfg.Contacts) > 0 {
		contact = cfg.Contacts[0].Name
	}
	if p.Contact != "" {
		contact = p.Contact
		if !slices.ContainsFunc(cfg.Contacts, func(c Person) bool { return c.Name == contact }) {
			return fmt.Errorf("%w: %q stands under no contacts: of %s", ErrNoSuch, contact, config)
		}
	}
	t := cfg.tongueOf(contact)
	if p.Language != "" {
		if _, ok := speech.Of(p.Language); !ok {
			return fmt.Errorf("%w: there are no texts in %q; write en, de or zh", ErrNoSuch, p.Language)
		}
		t = cfg.tongueIn(p.Language)
	}
	kinds := notify.Kinds()
	if p.Kind != "" {
		kinds = []string{previewKinds()[p.Kind]}
	}
	texts, err := cfg.texts()
	if err != nil {
		return fmt.Errorf("calls.texts: %w", err)
	}
	fmt.Fprintf(w, "To %s in %s, by %s. Each text is said twice.\n", contact, t.code, cmp.Or(t.voice, "Twilio's own voice"))
	if cfg.Calls.Keypad.on() {
		keys, err := texts.SayKeys(notify.Keys, true, t.language)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "After each comes what the keys do; 2 only where a shutdown can be stopped: %s\n", keys)
	}
	first := ""
	for _, kind := range kinds {
		for n, s := range notify.Samples(kind, contact, site) {
			if p.Variant > 0 && n+1 != p.Variant {
				continue
			}
			text, err := texts.Say(s.Story, t.language)
			if err != nil {
				return err
			}
			first = cmp.Or(first, text)
			fmt.Fprintf(w, "\n# %s %d: %s (%.0f s)\n%s\n", strings.ReplaceAll(kind, "_", " "), n+1, s.Name, t.language.Seconds(text), text)
		}
	}
	if first == "" {
		return fmt.Errorf("%w: %s has no variant %d", ErrNoSuch, p.Kind, p.Variant)
	}
	if p.Speak == "" {
		return nil
	}
	if err := speak(ctx, p.Speak, first, t.language); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nThe first of them is in %s, by espeak-ng; Twilio's voices sound better.\n", p.Speak)
	return nil
}

// speak has espeak-ng write the sound of a text to a file, twice as in a call.
func speak(ctx context.Context, file, text string, l speech.Language) error {
	path, err := exec.LookPath("espeak-ng")
	if err != nil {
		return errors.New("espeak-ng is not installed here, which --speak needs; install it (apt install espeak-ng), or leave --speak out")
	}
	ctx, cancel := context.WithTimeout(ctx, speakWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "-v", l.Espeak(), "-s", "150", "-w", file, "--", text+"\n\n"+text)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("speak by espeak-ng: %w: %.200s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
