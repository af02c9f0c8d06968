package proxy

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are what Prometheus sees of a Pi: on its control socket and over the tailnet, not
// on the LAN, where anybody may ask.
type metrics struct {
	registry *prometheus.Registry
	refused  *prometheus.CounterVec
}

func newMetrics() *metrics {
	m := &metrics{registry: prometheus.NewRegistry(),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sentinel_messages_refused_total",
			Help: "Messages that changed nothing, by the reason for it."}, []string{"reason"})}
	m.registry.MustRegister(m.refused, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// count is told of each message that changed nothing; the reasons are words of the code.
func (m *metrics) count(reason string) { m.refused.WithLabelValues(reason).Inc() }

func (m *metrics) register(mux *http.ServeMux) {
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
}
