package group

import "fmt"

// accounts compares what is counted with what is held, "" if it is the same.
func (c *Core) accounts() string {
	var all int64
	for _, name := range c.names() {
		g := c.groups[name]
		var n int64
		if k := g.classic; k != nil {
			for _, m := range k.members {
				n += m.size()
			}
			for id := range k.pendingJoin {
				n += pendingSize(id)
			}
		} else {
			for _, m := range g.consumer.members {
				n += m.size()
			}
			for regex, r := range g.consumer.regexes {
				n += regexSize(regex, r)
			}
		}
		if a := g.held(); a.bytes != n || a.total != c.cfg.Memory {
			return fmt.Sprintf("group %s holds %d bytes, %d are counted", name, n, a.bytes)
		}
		all += n
	}
	if used := c.cfg.Memory.Used(); used != all {
		return fmt.Sprintf("the groups hold %d bytes, %d are counted", all, used)
	}
	return ""
}
