package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/semaphore"

	"github.com/millstream-io/millstream/log/broker"
)

// works says that another client is served.
func (ts *testServer) works() {
	ts.t.Helper()
	req := kmsg.NewPtrApiVersionsRequest()
	req.Version = 0
	c := ts.dial()
	defer c.Close()
	if resp := c.do(req).(*kmsg.ApiVersionsResponse); resp.ErrorCode != 0 {
		ts.t.Fatalf("another client got error %d", resp.ErrorCode)
	}
}

// ended counts connections by the reason of their end.
type ended struct {
	mu sync.Mutex
	n  map[CloseReason]int
	c  chan CloseReason
}

func countEnds(e *ended) setup {
	e.n, e.c = map[CloseReason]int{}, make(chan CloseReason, 100_000)
	return func(_ *broker.Config, w *Config) {
		w.Hooks.Disconnected = func(_ string, why CloseReason) {
			e.mu.Lock()
			e.n[why]++
			e.mu.Unlock()
			e.c <- why
		}
	}
}

// frameOf prefixes bytes with their length.
func frameOf(b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
}

func TestWhatIsNoRequestClosesItsConnectionWithOneLine(t *testing.T) {
	var e ended
	ts := newTestServer(t, countEnds(&e))
	header := func(key, version uint16) []byte {
		b := binary.BigEndian.AppendUint16(nil, key)
		b = binary.BigEndian.AppendUint16(b, version)
		b = binary.BigEndian.AppendUint32(b, 7)
		return binary.BigEndian.AppendUint16(b, 0xffff)
	}
	hugeArray := append(header(3, 1), 0x7f, 0xff, 0xff, 0xff)
	negative := append(header(3, 1), 0x80, 0, 0, 0)
	badClient := header(3, 1)
	binary.BigEndian.PutUint16(badClient[8:], 500)
	largeMetadata := make([]byte, 6)
	binary.BigEndian.PutUint32(largeMetadata, 5<<20)
	binary.BigEndian.PutUint16(largeMetadata[4:], 3)
	for _, c := range []struct {
		name string
		sent []byte
		shut bool // the client ends, so that the server need not wait
	}{
		{"giant length", []byte{0x7f, 0xff, 0xff, 0xff}, false},
		{"negative length", []byte{0x80, 0, 0, 0}, false},
		{"zero length", []byte{0, 0, 0, 0}, false},
		{"an HTTP request", []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), false},
		{"a TLS client hello", []byte{0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03}, false},
		{"unknown key", frameOf(header(999, 0)), false},
		{"negative key", frameOf(header(0xffff, 0)), false},
		{"unknown version", frameOf(header(3, 99)), false},
		{"negative version", frameOf(header(3, 0xffff)), false},
		{"a client id longer than the frame", frameOf(badClient), false},
		{"an array longer than the frame", frameOf(hugeArray), false},
		{"no body", frameOf(header(1, 12)), false},
		{"tags that do not end", frameOf(append(header(3, 12), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)), false},
		{"a large request that is no produce", largeMetadata, false},
		{"the end inside a size", []byte{0, 0}, true},
		{"the end inside a frame", append([]byte{0, 0, 1, 0}, header(3, 1)...), true},
		{"a negative array is null", frameOf(negative), true},
	} {
		before := ts.logs.containing("connection closed")
		conn := ts.dial()
		if _, err := conn.Write(c.sent); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if c.shut {
			if err := conn.Conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
		}
		conn.closed()
		why := <-e.c
		if c.name == "a negative array is null" {
			if why != ClosedByPeer {
				t.Errorf("%s: closed as %s", c.name, why)
			}
			continue
		}
		if why != ClosedMalformed {
			t.Errorf("%s: closed as %s, expected malformed", c.name, why)
		}
		if n := ts.logs.containing("connection closed") - before; n != 1 {
			t.Errorf("%s: %d log lines, expected 1", c.name, n)
		}
		ts.works()
		<-e.c
	}
}

func TestRandomBytesHarmNobody(t *testing.T) {
	ts := newTestServer(t)
	rng := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		b := make([]byte, rng.IntN(300))
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		c := ts.dial()
		if rng.IntN(2) == 0 {
			b = frameOf(b)
		}
		if _, err := c.Write(b); err != nil {
			continue
		}
		_ = c.Conn.(*net.TCPConn).CloseWrite()
		c.closed()
	}
	ts.works()
}

func TestAnnouncedBytesThatDoNotComeCostNoMemory(t *testing.T) {
	ts := newTestServer(t, func(_ *broker.Config, w *Config) { w.MaxInFlightBytes = 10 << 30 })
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range 40 { // 4 GB in all
		b := binary.BigEndian.AppendUint32(nil, 100<<20)
		if _, err := ts.dial().Write(append(b, make([]byte, 2000)...)); err != nil {
			t.Fatal(err)
		}
	}
	ts.works()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 40<<20 {
		t.Errorf("the heap grew by %d bytes for 40 announcements of 100 MB, expected less than 1 MB each", grown)
	}
}

func TestHalfOpenConnectionsEnd(t *testing.T) {
	var e ended
	ts := newTestServer(t, countEnds(&e), func(_ *broker.Config, w *Config) {
		w.IdleTimeout, w.FrameTimeout = time.Second, time.Second
	})
	silent, half := ts.dial(), ts.dial()
	if _, err := half.Write([]byte{0, 0, 1, 0, 0, 3}); err != nil {
		t.Fatal(err)
	}
	silent.closed()
	half.closed()
	if a, b := <-e.c, <-e.c; a != ClosedIdle || b != ClosedIdle {
		t.Errorf("a silent and a half sent request were closed as %s and %s, expected idle", a, b)
	}
	ts.works()
}

func TestBoundsOfConnections(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(*Config)
	}{
		{"max.connections", func(w *Config) { w.MaxConnections = 3 }},
		{"max.connections.per.ip", func(w *Config) { w.MaxConnectionsPerIP = 3 }},
	} {
		var e ended
		refused := make(chan struct{}, 100)
		ts := newTestServer(t, countEnds(&e), func(_ *broker.Config, w *Config) {
			c.set(w)
			w.Hooks.Rejected = func(string) { refused <- struct{}{} }
		})
		req := kmsg.NewPtrApiVersionsRequest()
		var conns []*rawConn
		for range 3 {
			conns = append(conns, ts.dial())
			conns[len(conns)-1].do(req)
		}
		for range 10 {
			ts.dial().closed()
			<-refused
		}
		if n := ts.logs.containing("connection refused", c.name); n == 0 || n > 2 {
			t.Errorf("%s: %d log lines for 10 refusals within a moment, expected about one", c.name, n)
		}
		conns[0].do(req) // the others are unharmed
		_ = conns[0].Close()
		<-e.c
		ts.works()
	}
}

// The bounds may be changed while the server runs, as Kafka's; connections that
// are open stay.
func TestBoundsOfConnectionsAreDynamic(t *testing.T) {
	ts := newTestServer(t)
	admin := ts.dial()
	set := func(name, value string) {
		t.Helper()
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		r := kmsg.NewIncrementalAlterConfigsRequestResource()
		r.ResourceType = kmsg.ConfigResourceTypeBroker
		c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		c.Name, c.Value = name, &value
		r.Configs = append(r.Configs, c)
		req.Resources = append(req.Resources, r)
		if resp := admin.do(req).(*kmsg.IncrementalAlterConfigsResponse); resp.Resources[0].ErrorCode != 0 {
			t.Fatalf("%s=%s: error %d (%v)", name, value, resp.Resources[0].ErrorCode, resp.Resources[0].ErrorMessage)
		}
	}
	req := kmsg.NewPtrApiVersionsRequest()
	second := ts.dial()
	second.do(req)
	for _, name := range []string{"max.connections", "max.connections.per.ip"} {
		set(name, "2")
		ts.dial().closed()
		second.do(req) // is open, and stays
		set(name, "1")
		ts.dial().closed()
		second.do(req)
		set(name, "100")
		ts.works()
	}
	set("max.connections.per.ip", "0")
	ts.dial().closed()
	set("max.connections.per.ip.overrides", "10.1.2.3:5,127.0.0.1:100,[::1]:7")
	ts.works()
}

func TestTheServersLoggerHasALevelOfItsOwn(t *testing.T) {
	ts := newTestServer(t)
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.Version = 4
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeBrokerLogger, strconv.Itoa(int(ts.b.NodeID()))
	req.Resources = append(req.Resources, r)
	resp := ts.dial().do(req).(*kmsg.DescribeConfigsResponse)
	var names []string
	for _, c := range resp.Resources[0].Configs {
		names = append(names, c.Name)
	}
	if !slices.Contains(names, "log.wire") || !slices.Contains(names, "log.broker") {
		t.Errorf("loggers %v, expected log.wire among them", names)
	}
}

func TestInFlightMemoryIsBackpressure(t *testing.T) {
	ts := newTestServer(t, func(_ *broker.Config, w *Config) {
		w.MaxRequestBytes, w.MaxInFlightBytes = 200<<10, 400<<10
	})
	top := ts.topic("t", 1)
	batch := batchOf(t, strings.Repeat("x", 100<<10))
	// One connection holds most of the budget: it sends all but the last byte.
	req := produceRequest(9, top, 0, 1, batch)
	holder := ts.dial()
	f := kmsg.NewRequestFormatter()
	whole := f.AppendRequest(nil, req, 1)
	if _, err := holder.Write(whole[:len(whole)-1]); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the frame is reserved", func() bool { return !tryAcquire(ts, 120<<10) })
	// Another one fits no more: it waits, and is served when the first is done.
	second := ts.dial()
	second.write(req)
	small := ts.dial() // small ones fit still
	small.do(metadataRequest(9, "t"))
	if _, err := holder.Write(whole[len(whole)-1:]); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*rawConn{holder, second} {
		if p := produced(t, c.read(req)); p.ErrorCode != 0 {
			t.Errorf("error %d", p.ErrorCode)
		}
	}
	waitFor(t, "everything is given back", func() bool { return tryAcquire(ts, 200<<10) })
}

// 64 members with 4 MiB of metadata each, that waited for their group, kept every
// produce above 1 MiB waiting too.
func TestAMemberThatWaitsKeepsNoRoomFromOthers(t *testing.T) {
	ts := newTestServer(t, func(_ *broker.Config, w *Config) {
		w.MaxRequestBytes, w.MaxInFlightBytes = 200<<10, 64<<20
	})
	join := func(metadata int) *kmsg.JoinGroupRequest {
		req := kmsg.NewPtrJoinGroupRequest()
		req.Version, req.Group, req.ProtocolType, req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 2, "g", "consumer", 30_000, 30_000
		req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: make([]byte, metadata)}}
		return req
	}
	if resp := ts.dial().do(join(10)).(*kmsg.JoinGroupResponse); resp.ErrorCode != 0 {
		t.Fatalf("join: error %d", resp.ErrorCode)
	}
	ts.dial().write(join(190 << 10)) // waits for the first to join again, which it does not
	describe := kmsg.NewPtrDescribeGroupsRequest()
	describe.Groups = []string{"g"}
	c := ts.dial()
	waitFor(t, "both are members", func() bool {
		groups := c.do(describe).(*kmsg.DescribeGroupsResponse).Groups
		return len(groups) == 1 && len(groups[0].Members) == 2
	})
	if !tryAcquire(ts, 32<<20) {
		t.Error("the request of a member that waits is reserved for")
	}
}

// A partition of a produce is 6 bytes and takes a hundred times as much when it is
// decoded and answered, so 100 MiB of them took 10 GB.
func TestWhatElementsTakeIsBounded(t *testing.T) {
	const most = 1000
	ts := newTestServer(t, func(_ *broker.Config, w *Config) {
		w.MaxRequestBytes, w.MaxInFlightBytes = 200<<10, most*elementMemory
	})
	ts.topic("t", 1)
	produce, fetch := kmsg.NewPtrProduceRequest(), kmsg.NewPtrFetchRequest()
	fill := func(partitions int) {
		produce.Topics = []kmsg.ProduceRequestTopic{{Topic: "t", Partitions: make([]kmsg.ProduceRequestTopicPartition, partitions)}}
		fetch.Topics = []kmsg.FetchRequestTopic{{Topic: "t", Partitions: slices.Repeat([]kmsg.FetchRequestTopicPartition{kmsg.NewFetchRequestTopicPartition()}, partitions)}}
	}
	produce.Version, produce.Acks, fetch.Version, fetch.SessionEpoch = 9, -1, 12, -1
	for _, req := range []kmsg.Request{produce, fetch} {
		fill(most - 1)
		ts.dial().do(req) // the topic is an element too
		fill(most)
		refused := ts.dial()
		refused.write(req)
		refused.closed()
	}
	for what, budget := range map[string]*semaphore.Weighted{"produce": ts.srv.memory.decoding, "fetch": ts.srv.memory.fetching} {
		waitFor(t, what+" gives everything back", func() bool {
			all := budget.TryAcquire(most * elementMemory)
			if all {
				budget.Release(most * elementMemory)
			}
			return all
		})
	}
	ts.works()
}

func tryAcquire(ts *testServer, n int64) bool {
	if !ts.srv.memory.small.TryAcquire(n) {
		return false
	}
	ts.srv.memory.small.Release(n)
	return true
}

// waitFor waits for a condition.
func waitFor(t *testing.T, what string, cond func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited too long: %s", what)
		}
	}
}

func TestASlowReaderHoldsNoMemoryAndIsGivenUp(t *testing.T) {
	for _, where := range []string{"memory", "disk"} {
		var e ended
		setups := []setup{countEnds(&e), func(_ *broker.Config, w *Config) { w.IdleTimeout = 2 * time.Second }}
		if where == "disk" {
			setups = append(setups, onDisk(t))
		}
		ts := newTestServer(t, setups...)
		top := ts.topic("t", 1, "max.message.bytes", "20000000")
		big := strings.Repeat("x", 1<<20)
		for range 16 {
			ts.produce("t", 0, big)
		}
		c := ts.dial()
		if err := c.Conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
			t.Fatal(err)
		}
		req := fetchRequest(12, top, 0)
		req.MaxBytes = 50 << 20
		req.Topics[0].Partitions[0].PartitionMaxBytes = 50 << 20
		c.write(req)
		ts.works()
		if a, b := <-e.c, <-e.c; (a != ClosedIdle || b != ClosedByPeer) && (a != ClosedByPeer || b != ClosedIdle) {
			t.Errorf("%s: the clients ended as %s and %s, expected the one that takes nothing as idle, the other by itself", where, a, b)
		}
		if err := ts.b.DeleteTopic("t"); err != nil {
			t.Errorf("%s: %v", where, err)
		}
	}
}

func TestAPanicClosesItsConnectionOnly(t *testing.T) {
	var e ended
	ts := newTestServer(t, countEnds(&e))
	ts.srv.byKey = append([]*api(nil), ts.srv.byKey...)
	broken := *ts.srv.byKey[3]
	broken.handle = func(context.Context, *Server, *request) (kmsg.Response, error) { panic("as planned") }
	ts.srv.byKey[3] = &broken
	c := ts.dial()
	c.write(metadataRequest(9))
	if n := c.closed(); n != 0 {
		t.Errorf("%d bytes came after a panic", n)
	}
	if why := <-e.c; why != ClosedPanic || ts.logs.containing("panicked", "as planned") != 1 {
		t.Errorf("closed as %s with %d log lines", why, ts.logs.containing("panicked", "as planned"))
	}
	ts.works()
}

// hasSession says that a fetch with SessionEpoch 0 has reached its handler.
func (ts *testServer) hasSession() bool {
	ts.srv.fetches.mu.Lock()
	defer ts.srv.fetches.mu.Unlock()
	return len(ts.srv.fetches.sessions) > 0
}

func TestServingEndsAfterTheRequestsInFlight(t *testing.T) {
	ts := newTestServer(t)
	top := ts.topic("t", 1)
	idle, busy := ts.dial(), ts.dial()
	req := fetchRequest(12, top, 0)
	req.MinBytes, req.MaxWaitMillis, req.SessionEpoch = 1, 1<<30, 0
	busy.write(req)
	waitFor(t, "the fetch is handled", ts.hasSession)
	ts.stop()
	if p := fetched(t, busy.read(req)); p.ErrorCode != 0 {
		t.Errorf("the request in flight: error %d", p.ErrorCode)
	}
	if n := idle.closed() + busy.closed(); n != 0 {
		t.Errorf("%d bytes after the end", n)
	}
	if _, err := net.Dial("tcp", ts.addr); err == nil {
		t.Error("the listener is open after the end")
	}
}

// TestManyConnections is scaled to the limit of descriptors, because both ends of a
// connection are ours; log/wire/clients has 10,000.
func TestManyConnections(t *testing.T) {
	n := min(1000, descriptors()/2-200)
	if n < 100 {
		t.Skipf("room for %d connections in the limit of open files: raise it (ulimit -n)", n)
	}
	ts := newTestServer(t)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	conns := make([]*rawConn, n)
	req := kmsg.NewPtrApiVersionsRequest()
	for i := range conns {
		conns[i] = ts.dial()
		conns[i].do(req)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (int64(after.HeapInuse+after.StackInuse) - int64(before.HeapInuse+before.StackInuse)) / int64(n)
	t.Logf("%d connections, %d bytes of heap and stacks each, both ends", n, each)
	if each > 32<<10 {
		t.Errorf("a connection takes %d bytes, expected at most 32 KiB", each)
	}
	for _, c := range conns { // all of them are still served
		c.write(req)
	}
	for _, c := range conns {
		c.read(req)
	}
}

func TestServeAfterClose(t *testing.T) {
	ts := newTestServer(t)
	if err := ts.srv.Close(); err != nil {
		t.Fatal(err)
	}
	if err := ts.srv.Serve(context.Background()); !errors.Is(err, ErrServerClosed) {
		t.Errorf("Serve after Close: %v", err)
	}
}

// 150 members with 4 MiB of metadata each took 2 GB for as long as they pleased.
func TestWhatMembersHoldIsBounded(t *testing.T) {
	const most, giant, many = 1 << 20, 64 << 10, 150
	ts := newTestServer(t, func(b *broker.Config, _ *Config) {
		b.Properties = map[string]string{"millstream.group.max.bytes": strconv.Itoa(most), "millstream.groups.max.bytes": strconv.Itoa(most + most/2)}
	})
	joinOf := func(group string, metadata int) *kmsg.JoinGroupRequest {
		req := join("", 2)
		req.Group, req.Protocols[0].Metadata = group, make([]byte, metadata)
		return req
	}
	c := ts.dial()
	joins := func(group string, metadata int) *kmsg.JoinGroupResponse {
		return c.do(joinOf(group, metadata)).(*kmsg.JoinGroupResponse)
	}
	if code := joins("before", 10).ErrorCode; code != codeNone {
		t.Fatalf("join: error %d", code)
	}
	giants := func(group string, expected int) {
		t.Helper()
		joins(group, 10) // the others wait for it to join again
		var refused atomic.Int32
		for range many {
			one, req := ts.dial(), joinOf(group, giant)
			one.write(req)
			go func() {
				if _, resp, err := one.tryRead(req); err == nil && resp.(*kmsg.JoinGroupResponse).ErrorCode == codeGroupMaxSizeReached {
					refused.Add(1)
				}
			}()
		}
		waitFor(t, "all are in or refused", func() bool {
			info, _ := ts.b.DescribeGroup(group)
			return len(info.Members)-1+int(refused.Load()) == many
		})
		if info, _ := ts.b.DescribeGroup(group); len(info.Members)-1 != expected {
			t.Errorf("group %s: %d of %d giants are in, expected %d", group, len(info.Members)-1, many, expected)
		}
	}
	giants("first", most/giant-1)
	giants("second", most/2/giant)
	if code := joins("third", giant).ErrorCode; code != codeGroupMaxSizeReached {
		t.Errorf("a giant of a third group: error %d, expected GROUP_MAX_SIZE_REACHED", code)
	}
	if n := ts.logs.containing("WARN", "millstream.group.max.bytes", "group=first"); n != 1 || ts.logs.containing("millstream.group.max.bytes") != 1 {
		t.Errorf("%d lines about the full group, expected one", n)
	}

	sync := kmsg.NewPtrSyncGroupRequest()
	for _, group := range []string{"before", "after"} { // a member comes, or comes again, and gets its assignment
		req := joinOf(group, 10)
		if info, ok := ts.b.DescribeGroup(group); ok {
			req.MemberID = info.Members[0].ID
		}
		resp := c.do(req).(*kmsg.JoinGroupResponse)
		sync.Version, sync.Group, sync.MemberID, sync.Generation = 2, group, resp.MemberID, resp.Generation
		sync.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: resp.MemberID, MemberAssignment: []byte("all")}}
		if s := c.do(sync).(*kmsg.SyncGroupResponse); resp.ErrorCode != codeNone || s.ErrorCode != codeNone || string(s.MemberAssignment) != "all" {
			t.Errorf("group %s: join error %d, sync error %d, assignment %q", group, resp.ErrorCode, s.ErrorCode, s.MemberAssignment)
		}
	}
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.Version, leave.Group = 3, "first"
	info, _ := ts.b.DescribeGroup("first")
	for _, m := range info.Members {
		leave.Members = append(leave.Members, kmsg.LeaveGroupRequestMember{MemberID: m.ID})
	}
	c.do(leave)
	if code := joins("third", giant).ErrorCode; code != codeNone {
		t.Errorf("a giant after others left: error %d", code)
	}
}

// A member of the consumer protocol that brings too much is refused, in any
// version, and stays what it was; the operator reads it once.
func TestWhatAConsumerMemberBringsIsBounded(t *testing.T) {
	ts := newTestServer(t, withoutInterval, func(b *broker.Config, _ *Config) {
		b.Properties["millstream.group.max.bytes"] = "8192"
	})
	ts.topic("a", 1)
	c := ts.dial()
	many := make([]string, 200)
	for i := range many {
		many[i] = fmt.Sprintf("topic-of-a-giant-%d", i)
	}
	for v := int16(0); v <= 1; v++ {
		member := fmt.Sprint("member-", v)
		small := c.do(beat(member, v)).(*kmsg.ConsumerGroupHeartbeatResponse)
		if small.ErrorCode != codeNone {
			t.Fatalf("v%d: a small member: error %d", v, small.ErrorCode)
		}
		more := beat(*small.MemberID, v)
		more.MemberEpoch, more.SubscribedTopicNames = small.MemberEpoch, many
		for _, req := range []*kmsg.ConsumerGroupHeartbeatRequest{more, func() *kmsg.ConsumerGroupHeartbeatRequest {
			other := beat("giant", v)
			other.SubscribedTopicNames = many
			return other
		}()} {
			if got := c.do(req).(*kmsg.ConsumerGroupHeartbeatResponse); got.ErrorCode != codeGroupMaxSizeReached || !strings.Contains(orEmpty(got.ErrorMessage), "8192") {
				t.Errorf("v%d: %s brings %d topics: error %d %q, expected GROUP_MAX_SIZE_REACHED and the bound", v, req.MemberID, len(many), got.ErrorCode, orEmpty(got.ErrorMessage))
			}
		}
		steady := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		steady.Version, steady.Group, steady.MemberID, steady.MemberEpoch, steady.RebalanceTimeoutMillis = v, "g", *small.MemberID, small.MemberEpoch, -1
		if got := c.do(steady).(*kmsg.ConsumerGroupHeartbeatResponse); got.ErrorCode != codeNone {
			t.Errorf("v%d: the member's next heartbeat: error %d", v, got.ErrorCode)
		}
	}
	if info, _ := ts.b.DescribeGroup("g"); len(info.Members) != 2 {
		t.Errorf("%d members, expected the 2 small ones", len(info.Members))
	}
	if n := ts.logs.containing("WARN", "millstream.group.max.bytes", "group=g"); n != 1 {
		t.Errorf("%d lines about the full group, expected one", n)
	}
}
