// Package desk is where a person sits in the lab: the keys, and a small page with the
// same buttons.
package desk

import (
	"bufio"
	"context"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"os"
	"strings"

	"golang.org/x/term"
)

// Home is what the keys act on.
type Home interface {
	Do(line string) error
}

// Help is what ? shows.
const Help = "p plug/unplug   1-3 kill node   s then 1-3 shut node down   r then 1-3 reboot node   o then 1-3 switch node on   i internet   u UPS daemon   ? help   q quit"

// Keys turns keystrokes into actions until q, Ctrl-C or the end of the input. Where the
// input is no terminal, lines are actions as in scripts.
func Keys(ctx context.Context, in *os.File, home Home, say func(who, what string)) error {
	if !term.IsTerminal(int(in.Fd())) {
		return lines(ctx, in, home, say)
	}
	old, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return fmt.Errorf("read keys: %w", err)
	}
	defer term.Restore(int(in.Fd()), old)
	keys := make(chan byte)
	go func() { // ends with the process: a read of a terminal cannot be given up
		defer close(keys)
		for b := make([]byte, 1); ; {
			if n, err := in.Read(b); err != nil || n == 0 {
				return
			}
			select {
			case keys <- b[0]:
			case <-ctx.Done():
				return
			}
		}
	}()
	board := keyboard{home: home, say: say, on: map[byte]bool{'p': true, 'i': true, 'u': true}}
	for {
		select {
		case <-ctx.Done():
			return nil
		case k, ok := <-keys:
			if !ok || k == 'q' || k == 3 { // Ctrl-C, since the terminal is raw
				return nil
			}
			board.press(k)
		}
	}
}

type keyboard struct {
	home Home
	say  func(who, what string)
	on   map[byte]bool // what p, i and u switch
	verb string        // that waits for its node
}

func (b *keyboard) press(k byte) {
	line := ""
	switch {
	case k == '?':
		b.say("keys", Help)
	case strings.IndexByte("sro", k) >= 0:
		b.verb = map[byte]string{'s': "shutdown", 'r': "reboot", 'o': "start"}[k]
		b.say("keys", b.verb+" which node? 1-3")
		return
	case k >= '1' && k <= '3':
		verb := b.verb
		if verb == "" {
			verb = "kill"
		}
		line = fmt.Sprintf("%s pve%c", verb, k)
	case strings.IndexByte("piu", k) >= 0:
		b.on[k] = !b.on[k]
		words := map[byte][2]string{'p': {"unplug", "plug"}, 'i': {"internet off", "internet on"}, 'u': {"ups off", "ups on"}}[k]
		line = words[0]
		if b.on[k] {
			line = words[1]
		}
	}
	b.verb = ""
	if line == "" {
		return
	}
	if err := b.home.Do(line); err != nil {
		b.say("lab", err.Error())
	}
}

func lines(ctx context.Context, in io.Reader, home Home, say func(who, what string)) error {
	read := make(chan string)
	go func() { // ends with the input, or with the process
		defer close(read)
		for scan := bufio.NewScanner(in); scan.Scan(); {
			select {
			case read <- scan.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case line, ok := <-read:
			if !ok { // no input at all: go on until told to end
				<-ctx.Done()
				return nil
			}
			if strings.TrimSpace(line) == "quit" {
				return nil
			}
			if err := home.Do(line); err != nil {
				say("lab", err.Error())
			}
		}
	}
}

// Routes are the control page and POST /lab/ACTION, an action's words joined by slashes. Of the
// actions' words UPS and PI stand for those of places, if there are such.
func Routes(home Home, actions [][2]string, page string, places map[string][]string) (http.Handler, error) {
	t, err := template.New("desk").Parse(deskPage)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		var buttons []string
		for _, a := range actions {
			buttons = append(buttons, spread(a[0], places)...)
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_ = t.Execute(w, map[string]any{"Page": page, "Buttons": buttons}) // the reader may be gone
	})
	mux.HandleFunc("POST /lab/{action...}", func(w http.ResponseWriter, r *http.Request) {
		if err := home.Do(strings.ReplaceAll(r.PathValue("action"), "/", " ")); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if strings.Contains(r.Header.Get("Accept"), "text/html") {
			http.Redirect(w, r, "/", http.StatusSeeOther)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	return http.NewCrossOriginProtection().Handler(mux), nil
}

// spread makes the actions that a pattern such as "path NODE|PI off|on" stands for.
func spread(pattern string, places map[string][]string) []string {
	out := []string{""}
	for _, word := range strings.Fields(strings.ReplaceAll(pattern, "NODE", "pve1|pve2|pve3")) {
		var next []string
		for _, o := range out {
			for _, w := range strings.Split(word, "|") {
				names, is := places[w]
				if !is {
					names = []string{w}
				}
				for _, n := range names {
					next = append(next, strings.TrimPrefix(o+"/"+n, "/"))
				}
			}
		}
		out = next
	}
	return out
}

const deskPage = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>lab</title>
<style>body{font:16px system-ui,sans-serif;max-width:40rem;margin:1rem auto;padding:0 1rem}form{display:inline}button{font:inherit;margin:.15rem;padding:.3rem .6rem}</style>
</head><body><h1>The lab</h1><p><a href="{{.Page}}">the brain's page</a></p>
{{range .Buttons}}<form method="post" action="/lab/{{.}}"><button>{{.}}</button></form>{{end}}
</body></html>`
