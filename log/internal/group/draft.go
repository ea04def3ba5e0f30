package group

import (
	"github.com/millstream-io/millstream/log/record"
)

// draft is what an event makes of a consumer group: the records, and what the
// group is once they are written. Until then the group is as it was.
type draft struct {
	c       *Core
	name    string
	is      *consumer // before
	will    *consumer // after; the same as is until there is a record
	records []Record
	soft    []func(*consumer) // what to do with timers once it holds
}

// change makes room for a record: from here on the draft differs from the group.
func (d *draft) change(r Record) *consumer {
	if d.will == d.is {
		d.will = d.is.clone()
	}
	d.records = append(d.records, r)
	return d.will
}

func (d *draft) setMember(m *consumerMember) {
	d.change(memberRecord(d.name, m)).put(m)
}

func (d *draft) setCurrent(m *consumerMember) {
	d.change(currentRecord(d.name, m)).put(m)
}

func (d *draft) setTarget(id string, a Assignment) {
	d.change(targetRecord(d.name, id, a)).target[id] = a
}

func (d *draft) setTargetEpoch(epoch int32, now int64) {
	g := d.change(targetEpochRecord(d.name, epoch, now))
	g.targetEpoch, g.targetMS = epoch, now
}

func (d *draft) setEpoch(epoch int32, hash int64) {
	g := d.change(epochRecord(d.name, epoch, hash))
	g.epoch, g.hash = epoch, hash
}

func (d *draft) setRegex(regex string, r resolved) {
	d.change(regexRecord(d.name, regex, r)).putRegex(regex, r)
}

func (d *draft) dropRegex(regex string) {
	if _, ok := d.will.regexes[regex]; ok {
		d.change(Record{Key: regexKey(d.name, regex)}).removeRegex(regex)
	}
}

// dropMember takes a member out with all its records.
func (d *draft) dropMember(id string) {
	d.change(Record{Key: memberKey(currentKeyVersion, d.name, id)})
	delete(d.change(Record{Key: memberKey(targetKeyVersion, d.name, id)}).target, id)
	d.change(Record{Key: memberKey(memberKeyVersion, d.name, id)}).drop(id)
}

// bump raises the group's epoch, so that the target is computed again, and
// drops the record by which Kafka 4.0 knew the partitions.
func (d *draft) bump() {
	d.setEpoch(d.will.epoch+1, d.will.metadataHash(d.c.cfg.Topics))
	d.noticed()
	if d.will.hasMetadata {
		d.change(Record{Key: groupedKey(metadataKeyVersion, d.name)}).hasMetadata = false
	}
}

// noticed: the hash is that of the topics as they are now.
func (d *draft) noticed() {
	version := d.c.cfg.Topics.Version()
	d.later(func(g *consumer) { g.checked, g.version = true, version })
}

// later does something to the soft state once the records are written.
func (d *draft) later(f func(*consumer)) { d.soft = append(d.soft, f) }

// done makes the draft count.
func (d *draft) done(err error) {
	if err != nil {
		return
	}
	g := d.c.find(d.name)
	d.c.setMembership(g, nil, d.will)
	for _, f := range d.soft {
		f(d.will)
	}
	for id := range d.will.timers {
		if d.will.members[id] == nil {
			delete(d.will.timers, id)
		}
	}
	d.c.wake(g, d.will.deadline())
}

// step is the draft's step: once it counts, the token gets its reply.
func (d *draft) step(s Step, token Token, reply func() Reply) Step {
	s.Records = append(s.Records, d.records...)
	s.after(func(_ record.Offset, err error) []Reply {
		d.done(err)
		switch {
		case reply == nil:
			return nil
		case err != nil:
			return []Reply{{Token: token, Err: err}}
		}
		r := reply()
		r.Token = token
		return []Reply{r}
	})
	return s
}
