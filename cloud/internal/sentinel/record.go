package sentinel

// recorded takes in what a Pi noted while the brain could not be reached (rules N7, N9, N11).
func (d *decider) recorded(in Recorded) {
	for _, r := range in.Entries {
		d.emit(&RecordTaken{Site: in.Site, Pi: in.Pi, At: d.now.Add(-r.Ago), UPS: r.UPS, Reading: r.Reading, Node: r.Node, Heard: r.Heard})
	}
}
