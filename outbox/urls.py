from django.urls import path

from outbox.api import EventDetail, EventList, Healthz, Metrics, Readyz
from outbox.consumer_api import ConsumerDetail, ConsumerList, ConsumerPause, ConsumerResume
from outbox.repair.api import (
    LetterDetail,
    LetterDiscard,
    LetterList,
    LetterReplay,
    ParkedKeyList,
    ParkedKeyRelease,
)
from outbox.repair.jobs_api import DiscardMany, JobDetail, JobList, JobStop, ReplayMany

urlpatterns = [
    path("api/events/", EventList.as_view(), name="event-list"),
    path("api/events/<uuid:event_id>/", EventDetail.as_view(), name="event-detail"),
    path("api/dead-letters/", LetterList.as_view(), name="dead-letter-list"),
    path("api/dead-letters/<uuid:letter_id>/", LetterDetail.as_view(), name="dead-letter-detail"),
    path("api/dead-letters/<uuid:letter_id>/replay/", LetterReplay.as_view(), name="dead-letter-replay"),
    path("api/dead-letters/<uuid:letter_id>/discard/", LetterDiscard.as_view(), name="dead-letter-discard"),
    path("api/dead-letters/replay/", ReplayMany.as_view(), name="dead-letters-replay"),
    path("api/dead-letters/discard/", DiscardMany.as_view(), name="dead-letters-discard"),
    path("api/repair-jobs/", JobList.as_view(), name="repair-job-list"),
    path("api/repair-jobs/<uuid:job_id>/", JobDetail.as_view(), name="repair-job-detail"),
    path("api/repair-jobs/<uuid:job_id>/stop/", JobStop.as_view(), name="repair-job-end"),
    path("api/parked-keys/", ParkedKeyList.as_view(), name="parked-key-list"),
    path("api/parked-keys/<uuid:parked_id>/release/", ParkedKeyRelease.as_view(), name="parked-key-release"),
    path("api/consumers/<str:name>/pause/", ConsumerPause.as_view(), name="consumer-pause"),
    path("api/consumers/<str:name>/resume/", ConsumerResume.as_view(), name="consumer-resume"),
    path("api/consumers/", ConsumerList.as_view(), name="consumer-list"),
    path("api/consumers/<str:name>/", ConsumerDetail.as_view(), name="consumer-detail"),
    path("healthz", Healthz.as_view(), name="healthz"),
    path("metrics", Metrics.as_view(), name="metrics"),
    path("readyz", Readyz.as_view(), name="readyz"),
]
