package brain

// named notes which bundle a Pi says is on its disk. A message that names none says
// nothing about it.
func (p *pis) named(pi, bundle string) {
	if bundle == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.has == nil {
		p.has = map[string]string{}
	}
	p.has[pi] = bundle
}

// unconfirmed are the site's Pis of which it is not known that they have the plan as it
// stands, armed or not, on their disks (rule S10).
func (b *Brain) unconfirmed(site string, armed bool) []string {
	bundles := b.bundles.Load()
	if bundles == nil {
		return nil // the first turn: nobody has asked yet
	}
	own := (*bundles)[site]
	b.pis.mu.Lock()
	defer b.pis.mu.Unlock()
	var out []string
	for _, s := range b.core().Sites {
		for _, pi := range s.Pis {
			if s.Name == site && (own.Armed != armed || b.pis.has[pi] != own.hash) {
				out = append(out, pi)
			}
		}
	}
	return out
}
