package sentinel

import "cmp"

// mute keeps a node's failures from calling anybody for a while (rule H9).
func (d *decider) mute(in Mute) {
	if d.site(in.Site).Sources[in.Name] != nil && in.For > 0 {
		d.emit(&Muted{Site: in.Site, Name: in.Name, By: in.By, Until: d.now.Add(in.For)})
	}
}

func (d *decider) unmute(in Unmute) {
	if src := d.site(in.Site).Sources[in.Name]; src != nil && !src.MutedUntil.IsZero() {
		d.emit(&Unmuted{Site: in.Site, Name: in.Name, Why: in.By + " said so"})
	}
}

// maintain lets a node or a whole site come and go for a while (rule H9).
func (d *decider) maintain(in Maintain) {
	if in.For > 0 && (in.Name == "" || d.site(in.Site).Sources[in.Name] != nil) {
		d.emit(&MaintenanceBegan{Site: in.Site, Name: in.Name, By: in.By, Until: d.now.Add(in.For)})
	}
}

func (d *decider) maintained(in Maintained) {
	until := d.site(in.Site).MaintainedUntil
	if in.Name != "" {
		src := d.site(in.Site).Sources[in.Name]
		if src == nil {
			return
		}
		until = src.MaintainedUntil
	}
	if !until.IsZero() {
		d.emit(&MaintenanceEnded{Site: in.Site, Name: in.Name, Why: in.By + " said so"})
	}
}

func (d *decider) deleted(in Delete) {
	if d.site(in.Site).Sources[in.Name] != nil {
		d.emit(&SourceDeleted{Site: in.Site, Name: in.Name, By: in.By})
	}
}

// indirect notes a node that only a Pi hears any more (rule H10).
func (d *decider) indirect(in Indirect) {
	if src := d.site(in.Site).Sources[in.Name]; src != nil && src.OnlyBy == "" {
		d.emit(&DirectLost{Site: in.Site, Name: in.Name, Via: in.Via, Since: in.Since})
	}
}

func (d *decider) direct(in Direct) {
	if src := d.site(in.Site).Sources[in.Name]; src != nil && src.OnlyBy != "" {
		d.emit(&DirectBack{Site: in.Site, Name: in.Name})
	}
}

// cloned notes a second machine under a name (rule H11).
func (d *decider) cloned(in Cloned) {
	site := d.site(in.Site)
	if as := site.Sources[in.As]; as != nil && as.CloneOf != "" {
		return
	}
	d.emit(&CloneSeen{Site: in.Site, Name: in.Name, As: in.As})
	role := Node
	if src := site.Sources[in.Name]; src != nil {
		role = cmp.Or(src.Role, Node)
	}
	d.heard(Heard{Site: in.Site, Name: in.As, Role: role, Boot: in.Boot})
}
