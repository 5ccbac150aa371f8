"""The words by which text is told from values: English as programs write it.

A small vocabulary of our own, not a dictionary: what matters is that a word that a programmer types into a message is
likely to be here, and that a value (a name of a person, of a machine, of a product) is likely not to be. Verbs are
given in their base form and inflected by :mod:`domain.categories.vocabulary`; nothing here knows what is done with it.
"""

from typing import Final


def _split(words: str) -> list[str]:
    return words.split()


FUNCTION_WORDS: Final = frozenset(
    _split("""
    about above after again against all already also although always among and any are as at be because been before
    behind being below between beyond both but by can cannot could did do does doing done down due during each either
    else ever every few for from further had has have having here how however if in instead into is it its itself just
    later least less many may maybe might more most much must near need neither never nor not nothing now of off on
    once only onto or other otherwise our out over own per same several shall should since so some soon still such
    than that the their them then there therefore these they this those through thus till to together too toward
    towards under unless until up upon using via was we were what when where whether which while who whom whose why
    will with within without would yet you your
    aren can't couldn couldn't didn didn't doesn doesn't don don't hasn hasn't haven haven't isn isn't shouldn
    shouldn't wasn wasn't weren weren't won won't wouldn wouldn't no
    """)
)
"""Words that bind a sentence; hardly ever values."""

BINDING_WORDS: Final = frozenset(
    _split("""
    after and are at because been before by can cannot could did does during for from had has have if in into is not of
    on or over than that the their this through to under until was were when which while with without would
    can't couldn't didn't doesn't don't hasn't haven't isn't wasn't weren't won't
    """)
)
"""Those among them that are so common that no value is ever spelled so."""

VERBS: Final = tuple(
    _split("""
    abandon abort accept access acquire acknowledge act activate adapt add adjust admit adopt advance advertise affect
    age alert allocate allow alter amend analyze announce answer appear append apply approve archive arrive ask
    assemble assert assign associate assume attach attempt audit authenticate authorize await backup bail ban batch
    begin bind block boot bounce break broadcast browse buffer build bump bypass cache calculate call cancel capture
    carry catch cause change charge check choose claim clean cleanup clear click clone close collapse collect combine
    come commit compact compare compile complete compose compress compute concatenate conclude configure confirm
    conflict connect consider construct consume contact contain continue contribute control convert coordinate copy
    correct corrupt count crash crawl create cut deactivate deallocate debit decide declare decline decode decompress
    decrease decrement decrypt deduct defer define defragment delay delegate delete deliver demand demote deny depend
    deploy deprecate dequeue deregister derive describe deserialize destroy detach detect determine dial die differ
    digest disable disallow discard disconnect discover dismiss dismount dispatch display dispose distribute divide
    download downgrade downscale drain drop dump duplicate echo edit eject elapse elect eliminate emit empty enable
    encode encounter encrypt end enforce engage enlarge enqueue enroll ensure enter enumerate erase escalate escape
    establish estimate evaluate evict examine exceed exclude execute exhaust exist exit expand expect expire explain
    export expose extend extract fail fall fence fetch fill filter finalize find finish fire fit fix flag flip flood
    flush fold follow forbid force forget fork format forward free freeze fulfill gain gather generate get give go
    grab grant group grow guess halt handle hang happen hash help hibernate hide hit hold honor hook hydrate identify
    ignore import improve include increase increment index indicate infer inform inherit initialize initiate inject
    insert inspect install instantiate instruct interpret interrupt intercept introduce invalidate invoke isolate
    issue iterate join jump keep kick kill know lack last launch lead leak learn leave let lift limit link list
    listen live load locate lock log login logout look loop lose lower maintain make manage map mark mask match
    materialize mean measure meet merge migrate mirror miss mitigate modify monitor mount move multiply mute
    negotiate notice notify obey observe obtain occur offer omit open operate optimize order originate overflow
    override overrun overwrite pack pair park parse partition pass patch pause pay peer perform permit persist pick
    pin ping pipe place plan play poll pop populate post postpone precede prefer prepare present preserve prevent
    print probe proceed process produce prohibit promote prompt propagate propose protect prove provide provision
    proxy prune publish pull purge push put qualify query queue quit raise reach react read reassign rebalance reboot
    rebuild receive recharge recognize recommend recompute reconcile reconfigure reconnect record recover recreate
    recycle redeem redirect redraw reduce reestablish refer refresh refund refuse regenerate register reindex reject
    relay release reload relocate remain remount remove rename render renew reopen reorder repair repeat replace
    replay replicate reply report represent reprocess request require reroute rerun reschedule resend reserve reset
    resign resize resolve respawn respond restart restore restrict result resume resync retain retire retransmit
    retrieve retry return reuse revert review revoke rewind rewrite ring roll rollback rotate route run sample save
    say scale scan schedule score scrape scroll scrub search secure see seek seem select send separate serialize
    serve set setup settle shift ship show shrink shut shutdown sign signal simulate sink skip sleep slow sort spawn
    specify spend spill split spool stage stall standby start starve stash stay steal step stop store stream strip
    submit subscribe succeed suffer suggest summarize supply support suppress surpass suspend swap switch sync
    synchronize tag take talk target tear tell terminate test think throttle throw tie time timeout toggle touch
    trace track trade trail train transfer transform transit transition translate transmit trap traverse treat
    trigger trim truncate trust try tune turn type unbind unblock uninstall unload unlock unlink unmount unpack
    unregister unsubscribe update upgrade upload use validate vanish verify view violate visit vote wait wake walk
    want warm warn waste watch wipe withdraw work wrap write yield zip
    """)
)
"""Base forms. A message with another verb is another message."""

IRREGULAR_FORMS: Final = frozenset(
    _split("""
    began begun bound broke broken brought built came caught chose chosen cut dead died dying dug fallen fed fell felt
    fought found froze frozen gave given gone got gotten grew grown held hid hidden hung kept knew known lain laid led
    left lent lost lying made meant met overran overridden overrode overwritten overwrote paid quit ran read rebuilt
    reran resent rewritten rewrote rang said sank saw seen sent shown shrank shrunk shut slept sold sought spent split
    spun stole stolen stood stuck sunk swept taken taught thought threw thrown told took torn tying understood undone
    went withdrawn withdrew woke woken won wrote written
    """)
)
"""Forms of verbs that no rule gives."""

OPPOSITES: Final = frozenset(
    _split("""
    absent active alive asleep available busy clean closed compatible complete correct critical degraded dirty
    down empty equal external failure false fatal fresh full good bad graceful healthy high higher highest idle
    inactive incoming incompatible incomplete incorrect internal invalid local locked low lower lowest max maximum min
    minimum missing negative new offline ok okay old online optional outbound inbound outgoing passive permanent
    positive present previous next primary private public readable ready reachable recoverable remote required rw ro
    secondary slow fast stable stale standby success successful successfully sufficient insufficient synchronous
    temporary transient true unable unauthorized unavailable unchanged unexpected unhandled unhealthy unknown
    unlocked unreachable unrecoverable unresponsive unstable unsuccessful unsupported unused valid writable writeable
    first second final partial
    """)
)
"""Adjectives and their like that turn a message into its opposite; as telling as verbs."""

NOUNS: Final = frozenset(
    _split("""
    ability acceptor account address adapter administrator agent aggregate alarm alert alias algorithm allocator amount
    analysis anomaly answer api app application archive area argument array article artifact aspect assertion asset
    attachment attack attempt attribute audit author authentication authorization authority average background
    backend backlog backoff backup balance balancer bandwidth banner base baseline batch battery beacon bean behavior
    benchmark bit bitmap blob block board body boot border bottom boundary box branch breach breakpoint bridge broker
    browser bucket buffer bug build bulk bundle bus button byte cable cache calendar call callback candidate capacity
    card catalog category cause cell center certificate chain challenge change channel chapter character charge
    checkpoint checksum child children chunk cipher circuit class classifier classpath cleaner cleanup client clock
    cluster code codec collection collector column command comment commit committer communication comparison
    compaction compiler completion component compression computer concurrency condition config configuration conflict
    connection connector console constraint consumer container content context contract control controller
    coordinator copy core corruption count counter coverage cpu crash creation credential credentials criteria cron
    current cursor curve cycle daemon dashboard data database datacenter dataset datasource datastore date day
    deadline deadlock debug decision default defect deferred definition degree delay delegation delivery delta
    dependency dependencies deployment depth description descriptor destination detail details detection detector
    device diagnostic diagnostics dictionary difference digest dimension directive directory directories disk
    discovery disposition distance distribution document domain download drift drive driver drop dump duplicate
    duration edge editor effect efficiency element email encoder encoding encryption endpoint engine enterprise
    entity entities entry entries environment epoch error event evidence exception exchange exclusion execution
    executor exit expectation experiment expiration exporter expression extension extent fabric facility fact factor
    factory fail failover fallback fan fault feature feed feedback fetcher field file filesystem filter fingerprint
    firewall firmware flag flow folder follower footer force foreground form format forwarder fraction fragment frame
    framework frequency frontend function future garbage gateway gauge generation generator geometry goal grammar
    graph grid group guard handle handler handshake hardware header heap heartbeat height helper hint history hook
    host hostname hour hypervisor icon id identification identifier identity image impact implementation incident
    index indices info information infrastructure initialization initiator inode input insertion inspection instance
    instruction integer integrity interaction interface interim interrupt interval invocation issue item iteration
    iterator job journal kernel key keyboard keystore kind label lag language latency launcher layer layout leader
    lease length letter level library license life lifecycle lifetime limit line link list listener load loader
    location lock log logger logic login loop machine magic mail mailbox maintenance manager manifest mapping margin
    mark marker master match matrix measure media member membership memory menu merge message metadata meter method
    metric metrics migration minute mirror misconfiguration mismatch mode model modification modifier module moment
    monitor month motion mount mouse multicast mutation name namespace nameserver neighbor nest network node noise note
    notification number object observer occurrence offset operand operation operator opportunity option
    order origin outage output overflow overhead overlap overload owner ownership package packet page pair panel
    panic parameter parent parity parser part participant partition party pass password patch path pattern payload
    peer penalty performance period permission persistence phase phone pipe pipeline place plan planner platform
    player plugin point pointer policy pool port portion position power precision precondition prediction preference
    prefix preparation principal printer priority privilege privileges probe problem procedure process processor
    producer product profile profiler program progress project promise property properties proposal protection
    protocol provider provisioner proxy purpose quality quantity query question queue quorum quota race rack radio
    range rank rate ratio reader reading reason reboot rebuild receipt receiver recipient recommendation record
    recorder recovery redirect redirection reduction reference refresh region registration registry regression
    rejection relation relationship release reminder removal renewal replacement replica replication reply report
    reporter repository representation request requirement reservation reset resolution resolver resource
    response responder responsibility rest restart restoration restore restriction result retention retries retry
    return reverse review revision right risk role rollback rollout rotation round route router routine row rule
    runner runtime safety salt sample sampler sandbox scaling scan scanner scenario schedule scheduler schema
    scheme scope score screen script search second section sector security seed segment selection selector semaphore
    sensor sentence sequence serial series server service session setting settings severity shape shard share
    shell shutdown side signal signature site situation size slave slice slot snapshot socket software solution
    sound source space span spec specification speed stack stage standard start startup state statement static
    station statistic statistics stats status step stock stop storage store strategy stream string structure style
    subject submission subnet subscriber subscription subsystem suffix suite sum summary supervisor support surface
    suspect switch symbol sync synchronization syntax system systems tab table tag target task team technology
    temperature template tenant term terminal termination test text thing thread threads threshold throughput ticket
    tier time timeout timer timestamp timezone title token tool top topic topology total trace tracer tracker traffic
    publickey passphrase pubkey http https tcp udp ssl tls ssh ftp smtp dns dhcp ntp ldap
    trailer transaction transfer transformation transition transmission transport trap tree trial trigger trouble
    trust tunnel type unit update updater upgrade upload uptime usage user username users utility utilization
    validation validator value variable variance vector vendor version vertex victim video view viewer violation
    visibility visitor volume vote voltage vulnerability wallet warning watchdog watcher watermark wave weight while
    width window wizard word work worker workers workflow workload workspace wrapper writer year zone
    additional alternative ambiguous anonymous appropriate approximate asynchronous atomic automatic bad bare basic
    big blank brief broken clear cold common consistent constant continuous corrupt corrupted current custom damaged
    dangling dedicated deep default different direct distinct double dynamic early easy eligible entire erroneous
    estimated exact excessive exclusive existing expired explicit extra extreme fair fine fixed foreign fragile
    frequent general generic global greater hard heavy hidden hot identical illegal impossible improper inaccessible
    inconsistent individual initial interactive invisible irrelevant large late latest legacy legal light likely
    limited long loose main major malformed manual mandatory maximal medium minimal minor mixed multiple mutual native
    necessary nested noisy normal numeric obsolete orphan orphaned out-of-date overall parallel particular pending
    perfect persistent physical plain poor possible potential pre-existing pristine proper quick random rapid raw real
    recent redundant regular related relative relevant reliable reserved responsive safe secure sensitive separate
    sequential short significant similar simple single small smaller larger soft special specific spurious standalone
    strict strong sudden superfluous suspicious tight tiny typical unauthenticated undefined unique universal
    unlikely unsafe unsigned upcoming urgent usual vacant various verbose virtual visible vital volatile vulnerable
    warm weak whole wide wrong zero
    almost apparently automatically back completely correctly currently directly else even exactly forcefully
    forcibly immediately indefinitely manually nearly normally permanently possibly previously probably properly
    quickly really recently slowly suddenly temporarily twice usually
    attempts bytes bits lines rows times days hours minutes seconds weeks months years
    """)
)
"""Nouns, adjectives and adverbs that messages are made of. Goods, people and places are left out: they are values."""

MONTHS_AND_DAYS: Final = frozenset(
    _split("""
    January February March April May June July August September October November December Jan Feb Mar Apr Jun Jul Aug
    Sep Sept Oct Nov Dec Monday Tuesday Wednesday Thursday Friday Saturday Sunday Mon Tue Wed Thu Fri Sat Sun
    AM PM UTC GMT CET CEST EET EEST WET MSK IST JST EST EDT CST CDT MST MDT PST PDT BST
    """)
)
"""Parts of dates, in the case they are written in."""

LITERALS: Final = frozenset(_split("true false null none nil nan inf infinity undefined n/a"))
"""Spellings of values, in lower case."""

METHODS: Final = frozenset(_split("GET POST PUT HEAD PATCH DELETE OPTIONS CONNECT TRACE SELECT INSERT UPDATE"))
"""Verbs of protocols, which are values when written in capitals."""

LEVELS: Final = frozenset(
    _split("TRACE DEBUG INFO NOTICE WARN WARNING ERROR ERR FATAL CRITICAL CRIT SEVERE ALERT EMERG PANIC FINE FINER")
)
"""Severities; they stand before text and are none."""

UNITS: Final = frozenset(
    _split("""
    ns us µs μs ms msec msecs millis millisecond milliseconds microsecond microseconds nanoseconds s sec secs second
    seconds m min mins minute minutes h hr hrs hour hours d day days w week weeks month months year years
    b B kb kB KB Kb mb MB Mb gb GB Gb tb TB pb PB K M G T KiB MiB GiB TiB kbps Mbps Gbps bps bit bits byte bytes
    kilobytes megabytes gigabytes hz Hz kHz MHz GHz rpm C F V W A percent pct px x
    """)
)
"""What may follow a number as its unit; both belong to the value."""

STATE_NOUNS: Final = frozenset(
    _split("status state mode level severity priority phase action method result outcome verdict color environment env")
)
"""Nouns whose next word is their value, in lower case."""

NOT_STATES: Final = frozenset(
    _split(
        "change changed changes changing check checked code codes machine transition update updated report request"
        " set file message manager line page api store transfer"
    )
)
"""Words that may follow a state noun without being its value."""

STATE_VERBS: Final = frozenset(_split("transition transitioned transitioning transitions"))
"""Verbs that say that states follow, in lower case."""

SERVICE_NOUNS: Final = frozenset(_split("service microservice component module subsystem daemon plugin"))
"""Nouns whose next word is a name, even if that is a known word, in lower case."""

BEFORE_USERS: Final = frozenset(_split("for invalid unknown by as to of illegal"))
"""Words before ``user`` after which the name of one follows, in lower case."""

NOT_SERVICES: Final = frozenset(
    _split("""
    account address bus call class config configuration container control controller data definition dependency
    description directory discovery endpoint entry error exception failure file format group handler health host id
    identifier info instance interface key level list loader manager manifest mesh message name names option options
    parameter path pool port principal process provider proxy registration registry request response restart session
    start state status stop template thread ticket time timeout token type unit update version
    """)
)
"""Words that may follow such a noun without being a name."""

FILE_EXTENSIONS: Final = frozenset(
    _split("""
    avi bak bin bmp bz2 c cc cfg class conf cpp crt cs css csv dat db deb dll doc docx dmp ear err exe gif go gz h htm
    html ico idx img ini iso jar java jpeg jpg js json jsp key lock log lua md mov mp3 mp4 mpg o out pcap pdf pem php
    pid pl png ppt pptx properties ps1 py pyc rar rb rpm rs rtf run sh so sock sql sqlite svg swf tar tgz tif tiff tmp
    toml ts tsv txt war wav webm webp xls xlsx xml xsd yaml yml zip
    """)
)
"""Endings of file names."""

DOMAIN_ENDINGS: Final = frozenset(
    _split("""
    ar arpa at au be biz br ca ch cl cloud cn co com corp cz de dev dk edu es eu example fi fr gov gr hk home hu id ie
    il in info int internal intranet invalid io ir it jp kr lan local localdomain mil mx my net nl no nz org ph pl pt
    ro ru se sg site sk svc test th tr tv tw ua uk us vn za
    """)
)
"""Endings of host names."""

MESSAGE_KEYS: Final = ("msg", "message", "log", "text", "event")
"""Keys of structured lines whose value is the text of the message."""

OPEN_ENDED_KEYS: Final = frozenset(_split("command cmd cmdline args argv query sql"))
"""Keys whose value may go on to the end of the line."""
