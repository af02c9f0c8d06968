package web

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"time"
)

//go:embed page.tmpl
var pageTemplate string

// Page serves the page and its data.
type Page struct {
	View func() *View // nil until there is one
	Log  *slog.Logger

	page *template.Template
}

// NewPage parses the template.
func NewPage(view func() *View, log *slog.Logger) (*Page, error) {
	t, err := template.New("page").Funcs(template.FuncMap{
		"clock": func(t time.Time) string { return t.Format("15:04:05") },
		"age":   age,
		"ratio": func(r *float64) string { return fmt.Sprintf("%.0f %%", *r*100) },
		"kind":  kind,
	}).Parse(pageTemplate)
	if err != nil {
		return nil, fmt.Errorf("read the page's template: %w", err)
	}
	return &Page{View: view, Log: log, page: t}, nil
}

// Register puts the routes on a mux.
func (p *Page) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /{$}", p.serve)
	mux.HandleFunc("GET /api/v1/status", p.status)
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
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
	_, _ = w.Write(b.Bytes()) // the reader may be gone
}

func (p *Page) status(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	var answer any = map[string]string{"error": starting}
	if v := p.View(); v != nil {
		answer = v
	} else {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(answer) // the reader may be gone
}

func age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	default:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	}
}

func kind(k string) string {
	switch k {
	case "power_outage":
		return "Power outage"
	case "internet_outage":
		return "Internet outage"
	default:
		return "Failure"
	}
}
