using NUnit.Framework;
using Saturn.Kernels.Cuda;

namespace Saturn.Tests.Cuda;

/// <summary>The choice of a tile for a convolution on tensor cores: waves over 132 multiprocessors and what padding wastes.</summary>
public sealed class TensorConvolutionTileTests
{
    // The layers of ResNet-18 on CIFAR images at batch 128, dense and pruned. 512 channels in tiles of 128 × 128 would leave half of the device without work.
    [TestCase(131072, 64, "Tall", 64)]
    [TestCase(32768, 128, "Square", 128)]
    [TestCase(8192, 256, "Square", 128)]
    [TestCase(2048, 512, "Medium", 64)]
    [TestCase(131072, 37, "Tall", 48)]
    [TestCase(32768, 75, "Square", 80)]
    [TestCase(8192, 219, "Square", 112)]
    [TestCase(131072, 24, "Narrow", 32)]
    [TestCase(131072, 8, "Narrow", 16)]
    [TestCase(128, 10, "Narrow", 16)]
    public void Layers_get_the_tile_that_fills_the_device(int rows, int columns, string tile, int width)
    {
        TensorConvolutionChoice choice = TensorConvolutionTile.Choose(rows, columns, 1);
        Assert.That((TensorConvolutionTile.All[choice.Tile].Name, choice.Width), Is.EqualTo((tile, width)));
    }

    [Test]
    public void The_tiles_cover_the_output_and_waste_less_than_a_step([Values(1, 100, 2048, 50000)] int rows, [Values(1, 7, 16, 37, 64, 65, 75, 130, 219, 512, 2048)] int columns, [Values(1, 4)] int independent)
    {
        TensorConvolutionChoice choice = TensorConvolutionTile.Choose(rows, columns, independent);
        TensorConvolutionTile tile = TensorConvolutionTile.All[choice.Tile];
        Assert.That(choice.Down * tile.Rows, Is.GreaterThanOrEqualTo(rows));
        Assert.That(choice.Width, Is.LessThanOrEqualTo(tile.Columns));
        Assert.That(choice.Width % 16, Is.Zero);
        Assert.That(choice.Across * choice.Width, Is.GreaterThanOrEqualTo(columns).And.LessThan(columns + 16 * choice.Across));
        Assert.That((choice.Across - 1) * choice.Width, Is.LessThan(columns), "no tile is empty");
    }
}
