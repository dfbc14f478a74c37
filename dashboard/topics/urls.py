"""Topics as they are in Kafka, beside what was declared."""

from django.urls import path

from dashboard.topics import views

urlpatterns = [
    path("", views.all_topics, name="topics"),
    path("stream/", views.topics_stream, name="topics-stream"),
    path("<str:name>/", views.topic, name="topic"),
    path("<str:name>/stream/", views.topic_stream, name="topic-stream"),
]
