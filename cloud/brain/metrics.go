package brain

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"sentinel.home.arpa/cloud/internal/sentinel"
	"sentinel.home.arpa/cloud/internal/web"
)

// metrics are what Prometheus sees. Gauges are read off the page's view when asked.
type metrics struct {
	registry      *prometheus.Registry
	refused       *prometheus.CounterVec
	journalErrors prometheus.Counter
	archiveErrors prometheus.Counter
	reloaded      prometheus.Gauge
	notices       *prometheus.CounterVec
}

func newMetrics() *metrics {
	m := &metrics{registry: prometheus.NewRegistry(),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sentinel_messages_refused_total",
			Help: "Messages that changed nothing, by the reason for it."}, []string{"reason"}),
		journalErrors: prometheus.NewCounter(prometheus.CounterOpts{Name: "sentinel_journal_errors_total",
			Help: "Writes to the journal that failed; the brain acted from memory."}),
		archiveErrors: prometheus.NewCounter(prometheus.CounterOpts{Name: "sentinel_journal_archive_errors_total",
			Help: "Snapshots of the journal, and removals of its old facts, that failed; they are tried again."}),
		reloaded: prometheus.NewGauge(prometheus.GaugeOpts{Name: "sentinel_config_reload_success",
			Help: "1 if cloud.yaml was right when it was last read, 0 if it was wrong and the one before stays."})}
	m.notices = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sentinel_notices_total",
		Help: "Notices by channel and what became of them: delivered, not delivered, or tried again after a first failure."}, []string{"channel", "outcome"})
	m.reloaded.Set(1)
	m.registry.MustRegister(m.refused, m.journalErrors, m.archiveErrors, m.reloaded, m.notices, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// gauges reads the state of the world off the newest view.
type gauges struct {
	view func() *web.View

	nodeUp, nodeMuted, nodeMaintained, heartbeatAge, onBattery, charge, runtime, incidents, armed, calls, waiting *prometheus.Desc
}

func newGauges(view func() *web.View) *gauges {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("sentinel_"+name, help, labels, nil)
	}
	return &gauges{view: view,
		nodeUp:         d("node_up", "1 if the node or Pi is up.", "site", "node"),
		nodeMuted:      d("node_muted", "1 while its failures call nobody.", "site", "node"),
		nodeMaintained: d("node_maintenance", "1 while it may come and go, or its whole site may.", "site", "node"),
		heartbeatAge:   d("node_heartbeat_age_seconds", "Time since the last heartbeat.", "site", "node"),
		onBattery:      d("ups_on_battery", "1 while the mains are gone.", "site", "ups"),
		charge:         d("ups_charge_ratio", "Charge of the battery, 0 to 1.", "site", "ups"),
		runtime:        d("ups_runtime_seconds", "Time that the UPS expects to last.", "site", "ups"),
		incidents:      d("incidents_open", "Incidents that go on; what is of no site has none.", "site", "kind"),
		armed:          d("plan_armed", "1 if the plan's commands are let out; there is none without a plan.", "site"),
		waiting:        d("machines_waiting", "Machines that were refused and wait to be approved."),
		calls:          d("calls_total", "Calls of the incidents still remembered, by outcome.", "outcome"),
	}
}

// Describe implements prometheus.Collector.
func (g *gauges) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(g, ch) }

// Collect implements prometheus.Collector.
func (g *gauges) Collect(ch chan<- prometheus.Metric) {
	v := g.view()
	if v == nil {
		return
	}
	set := func(d *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	for _, s := range v.Sites {
		if s.HasPlan {
			set(g.armed, one(s.Armed), s.Name)
		}
		for _, n := range s.Sources {
			set(g.nodeUp, one(n.Condition == "up"), s.Name, n.Name)
			set(g.nodeMuted, one(!n.MutedUntil.IsZero()), s.Name, n.Name)
			set(g.nodeMaintained, one(!n.MaintenanceUntil.IsZero() || !s.MaintenanceUntil.IsZero()), s.Name, n.Name)
			if n.Heard {
				set(g.heartbeatAge, n.Age.Seconds(), s.Name, n.Name)
			}
		}
		for _, u := range s.UPSes {
			set(g.onBattery, one(u.OnBattery), s.Name, u.Name)
			if u.Charge != nil {
				set(g.charge, *u.Charge, s.Name, u.Name)
			}
			if u.Runtime != nil {
				set(g.runtime, u.Runtime.Seconds(), s.Name, u.Name)
			}
		}
	}
	for of, n := range openByKind(v) {
		set(g.incidents, float64(n), of.site, of.kind)
	}
	set(g.waiting, float64(len(v.Waiting)))
	for outcome, n := range v.Calls {
		ch <- prometheus.MustNewConstMetric(g.calls, prometheus.CounterValue, float64(n), outcome)
	}
}

type ofKind struct{ site, kind string }

// openByKind counts the open incidents, those too of which there are none: an alert that
// waits for one must find the series.
func openByKind(v *web.View) map[ofKind]int {
	n := map[ofKind]int{{"", string(sentinel.TailnetDown)}: 0}
	for _, s := range v.Sites {
		for _, k := range []sentinel.IncidentKind{sentinel.NodeFailure, sentinel.PowerOutage, sentinel.InternetOutage, sentinel.Unwatched} {
			n[ofKind{s.Name, string(k)}] = 0
		}
	}
	for _, i := range v.Incidents {
		if i.Open {
			n[ofKind{i.Site, i.Kind}]++
		}
	}
	return n
}

func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
