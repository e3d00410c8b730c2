using System.Runtime.InteropServices;
using Saturn.Kernels.Cuda.Compilation;
using Saturn.Kernels.Families;

namespace Saturn.Kernels.Cuda;

/// <summary>The softmax and cross entropy kernels of <c>kernels/loss.cu</c>.</summary>
internal sealed class CudaLoss : ILossKernels
{
    private const int Threads = 256;

    private readonly CudaContext context;
    private readonly CudaKernel<SoftmaxArguments> softmaxForward;
    private readonly CudaKernel<SoftmaxGradientArguments> softmaxBackward;
    private readonly CudaKernel<CrossEntropyArguments> crossEntropyRows;
    private readonly CudaKernel<CrossEntropyArguments> crossEntropyMean;
    private readonly CudaKernel<CrossEntropyGradientArguments> crossEntropyBackward;

    public CudaLoss(CudaContext context)
    {
        this.context = context;
        CudaModule module = context.Module(KernelSource.BuiltIn(
            "loss.cu", typeof(SoftmaxArguments), typeof(SoftmaxGradientArguments), typeof(CrossEntropyArguments), typeof(CrossEntropyGradientArguments)));
        softmaxForward = module.Kernel<SoftmaxArguments>("softmaxForward");
        softmaxBackward = module.Kernel<SoftmaxGradientArguments>("softmaxBackward");
        crossEntropyRows = module.Kernel<CrossEntropyArguments>("crossEntropyRows");
        crossEntropyMean = module.Kernel<CrossEntropyArguments>("crossEntropyMean");
        crossEntropyBackward = module.Kernel<CrossEntropyGradientArguments>("crossEntropyBackward");
    }

    /// <inheritdoc/>
    public void SoftmaxCrossEntropyForward(
        int rows, int classes, float labelSmoothing, DeviceBuffer logits, DeviceBuffer labels, DeviceBuffer loss, DeviceBuffer probabilities, DeviceBuffer correct)
    {
        ActivationType.RequireFloat32("loss.SoftmaxCrossEntropyForward", logits);
        DeviceBuffer losses = context.Memory.Allocate(rows * (long)sizeof(double));
        DeviceBuffer hits = context.Memory.Allocate(rows * (long)sizeof(int));
        CrossEntropyArguments arguments = new()
        {
            Logits = logits.Address,
            Labels = labels.Address,
            Probabilities = probabilities.Address,
            Losses = losses.Address,
            Hits = hits.Address,
            Loss = loss.Address,
            Correct = correct.Address,
            Smoothing = labelSmoothing,
            Rows = rows,
            Classes = classes,
            Pitch = Shape.PitchOf(classes),
        };
        crossEntropyRows.Launch(arguments, WarpGrid(rows));
        crossEntropyMean.Launch(arguments, LaunchGeometry.Linear(1, Threads));
        context.Memory.Free(hits);
        context.Memory.Free(losses);
    }

    /// <inheritdoc/>
    public void SoftmaxCrossEntropyBackward(
        int rows, int classes, float labelSmoothing, DeviceBuffer probabilities, DeviceBuffer labels, DeviceBuffer lossGradient, DeviceBuffer logitsGradient,
        GradientMode mode)
    {
        CrossEntropyGradientArguments arguments = new()
        {
            Probabilities = probabilities.Address,
            Labels = labels.Address,
            LossGradient = lossGradient.Address,
            LogitsGradient = logitsGradient.Address,
            Smoothing = labelSmoothing,
            Rows = rows,
            Classes = classes,
            Pitch = Shape.PitchOf(classes),
            Accumulate = mode == GradientMode.Accumulate ? 1 : 0,
        };
        crossEntropyBackward.Launch(arguments, new RowGrid(rows, arguments.Pitch, 1).Geometry);
    }

    /// <inheritdoc/>
    public void SoftmaxForward(int rows, int classes, DeviceBuffer input, DeviceBuffer output)
    {
        ActivationType.RequireFloat32("loss.SoftmaxForward", input, output);
        softmaxForward.Launch(
            new SoftmaxArguments { Input = input.Address, Output = output.Address, Rows = rows, Classes = classes, Pitch = Shape.PitchOf(classes) }, WarpGrid(rows));
    }

    /// <inheritdoc/>
    public void SoftmaxBackward(int rows, int classes, DeviceBuffer output, DeviceBuffer outputGradient, DeviceBuffer inputGradient, GradientMode mode)
    {
        SoftmaxGradientArguments arguments = new()
        {
            Output = output.Address,
            OutputGradient = outputGradient.Address,
            InputGradient = inputGradient.Address,
            Rows = rows,
            Classes = classes,
            Pitch = Shape.PitchOf(classes),
            Accumulate = mode == GradientMode.Accumulate ? 1 : 0,
        };
        softmaxBackward.Launch(arguments, WarpGrid(rows));
    }

    private static LaunchGeometry WarpGrid(int rows) => LaunchGeometry.Cover(rows * 32L, Threads);
}

[KernelArguments("loss.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct SoftmaxArguments
{
    public nint Input;
    public nint Output;
    public int Rows;
    public int Classes;
    public int Pitch;
}

[KernelArguments("loss.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct SoftmaxGradientArguments
{
    public nint Output;
    public nint OutputGradient;
    public nint InputGradient;
    public int Rows;
    public int Classes;
    public int Pitch;
    public int Accumulate;
}

[KernelArguments("loss.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct CrossEntropyArguments
{
    public nint Logits;
    public nint Labels;
    public nint Probabilities;
    public nint Losses;
    public nint Hits;
    public nint Loss;
    public nint Correct;
    public float Smoothing;
    public int Rows;
    public int Classes;
    public int Pitch;
}

[KernelArguments("loss.cu")]
[StructLayout(LayoutKind.Sequential)]
internal struct CrossEntropyGradientArguments
{
    public nint Probabilities;
    public nint Labels;
    public nint LossGradient;
    public nint LogitsGradient;
    public float Smoothing;
    public int Rows;
    public int Classes;
    public int Pitch;
    public int Accumulate;
}
