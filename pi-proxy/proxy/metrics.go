package proxy

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"sentinel.home.arpa/pi-proxy/internal/brainwatch"
	"sentinel.home.arpa/shared/daemon"
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

// watch adds what is asked of the Pi when Prometheus asks.
func (m *metrics) watch(p *Proxy) {
	gauge := func(name, help string, value func() float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
	gauge("sentinel_brain_silent_seconds", "How long ago a brain last answered, or since when the Pi listens.", func() float64 {
		return p.outside.stands().Silent.Seconds()
	})
	gauge("sentinel_brain_gone", "Whether the Pi takes the brain for gone: 1 if so.", func() float64 { return oneIf(p.outside.gone.Load()) })
	gauge("sentinel_internet_out", "Whether the Pi's own internet is out: 1 if so, 0 also if it is not known.", func() float64 {
		return oneIf(p.outside.stands().Internet == brainwatch.Out)
	})
	m.registry.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "sentinel_record_pending",
			Help: "Entries of the record that no brain is known to have."}, func() float64 { return float64(p.record.Pending()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "sentinel_brain_leaving",
			Help: "Brains that have said within 10 min that they are about to be restarted."}, func() float64 {
			return float64(p.leaves.lately(daemon.BootTime()))
		}))
}

func oneIf(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// count is told of each message that changed nothing; the reasons are words of the code.
func (m *metrics) count(reason string) { m.refused.WithLabelValues(reason).Inc() }

func (m *metrics) register(mux *http.ServeMux) {
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
}
