package web

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"

	"sentinel.home.arpa/shared/power"
)

// incidentsShown is how many incidents the page lists.
const incidentsShown = 20

//go:embed page.tmpl
var pageTemplate string

//go:embed stop.html
var stopPage []byte

// Page serves the page and its data.
type Page struct {
	View func() *View // nil until there is one
	Log  *slog.Logger

	page *template.Template
}

// NewPage parses the template.
func NewPage(view func() *View, log *slog.Logger) (*Page, error) {
	t, err := template.New("page").Funcs(template.FuncMap{
		"clock":  func(t time.Time) string { return t.Format("15:04:05") },
		"age":    power.Spell,
		"ratio":  func(r *float64) string { return fmt.Sprintf("%.0f %%", *r*100) },
		"newest": newest,
		"until":  func(v *View, t time.Time) string { return Until(t, v.At) },
		"names":  func(names []string) string { return strings.Join(names, ", ") },
		"unsaid": unsaid,
	}).Parse(pageTemplate)
	if err != nil {
		return nil, fmt.Errorf("read the page's template: %w", err)
	}
	return &Page{View: view, Log: log, page: t}, nil
}

// Register puts the routes on a mux.
func (p *Page) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /{$}", p.serve)
	mux.HandleFunc("GET /plan/stop", askStop)
	p.registerAPI(mux)
}

const starting = "the brain is starting"

func (p *Page) serve(w http.ResponseWriter, _ *http.Request) {
	v := p.View()
	if v == nil {
		http.Error(w, starting, http.StatusServiceUnavailable)
		return
	}
	var b bytes.Buffer
	if err := p.page.Execute(&b, v); err != nil {
		p.Log.Error("page not rendered", "err", err)
		http.Error(w, "the page could not be made", http.StatusInternalServerError)
		return
	}
	writePage(w, b.Bytes())
}

// askStop asks once whether the plan is to be stopped. It is a page of its own since the other
// is renewed under the reader's hand.
func askStop(w http.ResponseWriter, _ *http.Request) { writePage(w, stopPage) }

func writePage(w http.ResponseWriter, page []byte) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
	_, _ = w.Write(page) // the reader may be gone
}

// Title says what an incident is, and where.
func Title(kind, site string) string {
	switch kind {
	case "power_outage":
		return "Power outage at " + site
	case "internet_outage":
		return "Internet outage at " + site
	case "power_unwatched":
		return "Nobody watches the power at " + site
	case "tailnet_down":
		return "Tailscale is out of reach"
	default:
		return "Failure at " + site
	}
}

// unsaid are the names that a text does not tell.
func unsaid(names []string, text string) []string {
	words := strings.FieldsFunc(text, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-._", r)
	})
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.TrimRight(w, ".") == n })
	})
}

// newest are the first of a list: as many as the page has room for.
func newest(list []Incident) []Incident { return list[:min(len(list), incidentsShown)] }

// Until says a moment as people do: the clock alone if it is today, as of now.
func Until(t, now time.Time) string {
	now = now.In(t.Location())
	if t.YearDay() == now.YearDay() && t.Year() == now.Year() {
		return t.Format("15:04")
	}
	return t.Format("Mon 2 Jan 15:04")
}
