package notify

import (
	"embed"
	"fmt"
	"strings"
	"text/template"
	"time"

	"sentinel.home.arpa/shared/speech"
)

//go:embed texts.*.tmpl
var shipped embed.FS

// Test is the kind of a call that is only to see that calling works.
const Test = "test"

// Texts are what calls say: a person's own templates where there are some, and else those that
// are shipped.
type Texts struct {
	own map[speech.Language]*template.Template // on top of the shipped ones
}

// Shipped are those of the program itself.
func Shipped() *Texts { return &Texts{} }

// Say is what is said on the phone about a story.
func (t *Texts) Say(s Story, l speech.Language) (string, error) { return t.say(s.Kind, s, l) }

func (t *Texts) say(what string, of any, l speech.Language) (string, error) {
	tmpl := t.own[l]
	if tmpl == nil {
		var err error
		if tmpl, err = shippedIn(l); err != nil {
			return "", err
		}
	}
	var b strings.Builder
	if err := tmpl.ExecuteTemplate(&b, what, of); err != nil {
		return "", fmt.Errorf("write the text of a %s: %w", what, err)
	}
	return l.Clean(b.String()), nil
}

// SayLate is what a call says first whose text was made a while ago.
func (t *Texts) SayLate(made time.Time, l speech.Language) (string, error) {
	return t.say("call_late", made, l)
}

// Own reports whether there are own texts of a language.
func (t *Texts) Own(l speech.Language) bool { return t.own[l] != nil }

func shippedIn(l speech.Language) (*template.Template, error) {
	t, err := template.New("").Option("missingkey=error").Funcs(l.Funcs()).ParseFS(shipped, "texts."+string(l)+".tmpl")
	if err != nil {
		return nil, fmt.Errorf("read the texts: %w", err)
	}
	return t, nil
}
