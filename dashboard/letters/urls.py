from django.urls import path

from dashboard.letters import acting, correcting, jobs, letter, live, many, parked, parked_list, views

urlpatterns = [
    path("", views.page, name="letters"),
    path("stream/", live.stream, name="letters-stream"),
    path("selected/", many.selected, name="letters-selected"),
    path("matching/<str:act>/", many.matching, name="letters-matching"),
    path("jobs/", jobs.job_list, name="repair-jobs"),
    path("jobs/stream/", jobs.stream, name="repair-jobs-stream"),
    path("jobs/<uuid:job_id>/", jobs.job, name="repair-job"),
    path("jobs/<uuid:job_id>/now/", jobs.job_now, name="repair-job-now"),
    path("jobs/<uuid:job_id>/stop/", jobs.job_stop, name="repair-job-stop"),
    path("parked/", parked_list.parked_list, name="parked-keys"),
    path("parked/stream/", parked_list.stream, name="parked-keys-stream"),
    path("parked/release/", parked.release_selected, name="release-parked-keys"),
    path("parked/<uuid:parked_id>/", parked.parked_key, name="parked-key"),
    path("parked/<uuid:parked_id>/release/", parked.release_key, name="release-parked-key"),
    path("<uuid:letter_id>/", letter.page, name="letter"),
    path("<uuid:letter_id>/replay/", acting.replay, name="letter-replay"),
    path("<uuid:letter_id>/discard/", acting.discard, name="letter-discard"),
    path("<uuid:letter_id>/correct/", correcting.correct, name="letter-correct"),
]
