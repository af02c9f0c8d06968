package notify

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/template"
	"text/template/parse"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"sentinel.home.arpa/shared/speech"
)

var update = flag.Bool("update", false, "write the golden files anew")

// ugly is what nobody should have to listen to.
var ugly = regexp.MustCompile(`  | [.,]|[.,]{2}|\.[^ ]|,[^ ]|<no value>|<nil>|\b(no|keine) (minutes|seconds|hours|guests|Minuten|Sekunden|Stunden|Gäste)\b|%|&|[，。：、][，。：、]|\(|!`)

// TestC1_Texts: what is said about every kind, in all its variants and languages. Read the
// golden files aloud after a change.
func TestC1_Texts(t *testing.T) {
	for _, l := range speech.Languages() {
		for _, kind := range Kinds() {
			t.Run(kind+"/"+string(l), func(t *testing.T) {
				var b strings.Builder
				for _, s := range Samples(kind, "Alex", "home") {
					text, err := Shipped().Say(s.Story, l)
					if err != nil {
						t.Fatalf("%s: %v", s.Name, err)
					}
					fmt.Fprintf(&b, "# %s\n%s\n\n", s.Name, text)
					listen(t, s.Name, text, l)
				}
				golden := filepath.Join("testdata", kind+"."+string(l)+".txt")
				if *update {
					if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(golden)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(string(want), b.String()); diff != "" {
					t.Errorf("-update writes it anew (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// greetings are how a text begins, and the character that ends its sentences.
func greeting(l speech.Language) (begins, stop string) {
	switch l {
	case speech.German:
		return "Hallo Alex. Hier ist dein Sentinel. ", "."
	case speech.Chinese:
		return "Alex，您好。这里是您的家庭哨兵。", "。"
	default:
		return "Hello Alex. This is your home sentinel. ", "."
	}
}

// listen checks what every text must be: a greeting by name, clean sentences, and over in
// 30 s.
func listen(t *testing.T, name, text string, l speech.Language) {
	t.Helper()
	begins, stop := greeting(l)
	if !strings.HasPrefix(text, begins) || !strings.HasSuffix(text, stop) {
		t.Errorf("%s: %q", name, text)
	}
	if bad := ugly.FindString(text); bad != "" {
		t.Errorf("%s: %q in %q", name, bad, text)
	}
	if takes := l.Seconds(text); takes > 30 {
		t.Errorf("%s: takes %.0f s: %q", name, takes, text)
	}
	for sentence := range strings.SplitSeq(strings.TrimSuffix(text, "."), ". ") {
		first := sentence[:1]
		if first != strings.ToUpper(first) && !strings.HasPrefix(sentence, "nuc") {
			t.Errorf("%s: a sentence begins in the middle: %q", name, sentence)
		}
	}
}

// TestC1_NoWordOfAnotherLanguage: what is said in German or Chinese has no English in it, whatever
// the reason that the core has found.
func TestC1_NoWordOfAnotherLanguage(t *testing.T) {
	words := func(l speech.Language) map[string]string {
		found := map[string]string{}
		for _, kind := range Kinds() {
			for _, s := range Samples(kind, "Ξ", "Ξ") {
				text, err := Shipped().Say(s.Story, l)
				if err != nil {
					t.Fatal(err)
				}
				for _, w := range strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) || unicode.Is(unicode.Han, r) }) {
					found[strings.ToLower(w)] = s.Name + ": " + text
				}
			}
		}
		return found
	}
	english := words(speech.English)
	if len(english) < 100 {
		t.Fatalf("only %d English words", len(english))
	}
	names := strings.Fields("ξ tailscale sentinel pi sam p v e u s r d nas nuc lan rack mail a c") // of machines, people and products
	for _, l := range []speech.Language{speech.German, speech.Chinese} {
		both := names
		if l == speech.German {
			both = append(both, "server", "plan", "internet", "in", "am", "was", "an", "so", "pis", "minute") // words of both, or that mean something else
		}
		for w, text := range words(l) {
			if _, is := english[w]; is && !slices.Contains(both, w) {
				t.Errorf("%s: %q is English: %s", l, w, text)
			}
			if l == speech.Chinese && !slices.Contains(both, w) {
				t.Errorf("%q is no Chinese: %s", w, text)
			}
		}
	}
}

// TestC1_EveryWordIsTried: the samples go through every branch of every text, so that none is
// heard for the first time at night.
func TestC1_EveryWordIsTried(t *testing.T) {
	for _, l := range speech.Languages() {
		t.Run(string(l), func(t *testing.T) {
			tmpl := template.Must(template.New("").Funcs(l.Funcs()).ParseFS(shipped, "texts."+string(l)+".tmpl"))
			marks := map[string]string{}
			for _, part := range tmpl.Templates() {
				if part.Tree != nil {
					mark(part.Tree.Root, marks)
				}
			}
			if len(marks) < 80 {
				t.Fatalf("only %d pieces of text", len(marks))
			}
			var said strings.Builder
			for _, kind := range Kinds() {
				for _, s := range Samples(kind, "Alex", "home") {
					if err := tmpl.ExecuteTemplate(&said, kind, s.Story); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := tmpl.ExecuteTemplate(&said, Test, Story{Contact: "Alex"}); err != nil {
				t.Fatal(err)
			}
			if err := tmpl.ExecuteTemplate(&said, "call_late", time.Time{}); err != nil {
				t.Fatal(err)
			}
			for _, what := range KeyWords() {
				for _, stoppable := range []bool{true, false} {
					if err := tmpl.ExecuteTemplate(&said, what, struct{ Stoppable bool }{stoppable}); err != nil {
						t.Fatal(err)
					}
				}
			}
			for m, text := range marks {
				if !strings.Contains(said.String(), m) {
					t.Errorf("no sample says %q", text)
				}
			}
		})
	}
}

// mark puts a mark before each piece of text.
func mark(n parse.Node, marks map[string]string) {
	if n == nil || reflect.ValueOf(n).IsNil() {
		return
	}
	switch n := n.(type) {
	case *parse.ListNode:
		for _, c := range n.Nodes {
			mark(c, marks)
		}
	case *parse.TextNode:
		if text := strings.TrimSpace(string(n.Text)); text != "" {
			m := fmt.Sprintf("⟨%d⟩", len(marks))
			marks[m] = text
			n.Text = append([]byte(m), n.Text...)
		}
	case *parse.IfNode:
		mark(n.List, marks)
		mark(n.ElseList, marks)
	case *parse.WithNode:
		mark(n.List, marks)
		mark(n.ElseList, marks)
	}
}

func TestTextOfAnUnknownKind(t *testing.T) {
	if text, err := Shipped().Say(Story{Kind: "greeting\"", Contact: "Alex"}, speech.English); err == nil {
		t.Errorf("said %q", text)
	}
	if text, err := Shipped().Say(Story{Kind: "tailnet_down", Contact: "Alex"}, "fr"); err == nil {
		t.Errorf("said %q", text)
	}
	if s := Samples("greeting", "Alex", "home"); len(s) > 0 {
		t.Errorf("samples of no kind: %v", s)
	}
}

// TestC1_ATestSaysThatItIsOne in each language, with the greeting.
func TestC1_ATestSaysThatItIsOne(t *testing.T) {
	for l, want := range map[speech.Language]string{
		speech.English: "Hello Alex. This is your home sentinel. This is a test: nothing has happened. That you hear this shows that I can call you.",
		speech.German:  "Hallo Alex. Hier ist dein Sentinel. Das ist ein Test: Es ist nichts passiert. Dass du das hörst, zeigt, dass ich dich anrufen kann.",
		speech.Chinese: "Alex，您好。这里是您的家庭哨兵。这是一次测试，什么事都没有发生。您能听到，说明我可以给您打电话。",
	} {
		if got, err := Shipped().Say(Story{Kind: Test, Contact: "Alex"}, l); err != nil || got != want {
			t.Errorf("%s: %q, %v", l, got, err)
		}
	}
}
