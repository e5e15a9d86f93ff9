{% include "v1model/banner.p4" %}

{% include "v1model/constants.p4" %}

{% include "v1model/headers.p4" %}

{% include "v1model/metadata.p4" %}

{% include "v1model/parser.p4" %}

{% include "v1model/handler.p4" %}

{% include "v1model/intake.p4" %}

{% include "v1model/slot.p4" %}

{% include "v1model/verdict.p4" %}

{% include "v1model/checksums.p4" %}

{% include "v1model/settle.p4" %}

{% include "v1model/pipeline.p4" %}
