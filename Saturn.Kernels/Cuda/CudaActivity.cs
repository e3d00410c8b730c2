using System.Runtime.InteropServices;
using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cuda;

/// <summary>An <see cref="ActivityReport"/> as <c>kernels/activity.cuh</c> takes it, inside the arguments of a kernel.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct Activity
{
    public nint Flags;
    public int Magnitude;
    public float Threshold;

    /// <summary>Prepares a report: kernels combine bits by OR, so words that are to be overwritten are set to zero first, on the same stream.</summary>
    public static Activity Begin(CudaContext context, in ActivityReport report, int channels)
    {
        if (!report.Flags.IsNone && !report.Combine)
        {
            context.IssueLog?.Add("a fill with zeros", report.Flags, report.Flags);
            context.Driver.FillWordsAsync(report.Flags.Address, 0, ActivityReport.WordCount(channels), context.Stream);
        }

        return new Activity
        {
            Flags = report.Flags.Address,
            Magnitude = report.Criterion == ActivityCriterion.MagnitudeAtLeastThreshold ? 1 : 0,
            Threshold = report.Threshold,
        };
    }
}
